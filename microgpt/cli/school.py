"""microgpt school: the lessons in a terminal, from the first stub to names of your own."""

import difflib
import os
import platform
import queue
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import click

from microgpt import dataset, files
from microgpt.cli import options
from microgpt.cli.commands import group
from microgpt.cli.progress import counting
from microgpt.cli.terminal import note, say
from microgpt.school import report as reports
from microgpt.school import sandbox, swap
from microgpt.school.course import WHOLE, Lesson, lesson, lessons
from microgpt.school.folder import Folder, fingerprint, started
from microgpt.school.judge import Verdict
from microgpt.school.learner import pair_names
from microgpt.school.program import FILE, Program
from microgpt.school.source import Text, home

WIDTH = 80  # columns
POLL = 0.5  # seconds between two looks at the file
PATH = click.Path(file_okay=False, path_type=Path)
number = click.argument("number", metavar="[N]", type=int, required=False)


class Steps(click.Group):
    """A group whose help has the commands in the order in which one needs them."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self.commands)


@group.group(name="school", cls=Steps, invoke_without_command=True, no_args_is_help=False)
@click.option(
    "--folder",
    type=PATH,
    show_default=f"here, or school where {FILE} is not here",
    help="Where you work.",
)
@click.pass_context
def school(context: click.Context, folder: Path | None) -> None:
    """Write gpt.py again, function by function, in twelve lessons.

    Four more lead on, to what large models add: examples, rewards, choices, subwords.

    Begin with `microgpt school start 1`. All that you write is in one file, mygpt.py; what is not
    written yet comes from gpt.py. Each check runs your code in a process of its own, with limits of
    time and memory: that protects you from a mistake, not from code of people you do not trust.
    """
    context.obj = Folder(folder or ("." if Path(FILE).exists() else "school"))
    if context.invoked_subcommand is None:
        _overview(context.obj)


def _overview(folder: Folder) -> None:
    """Print the lessons, how far each one is, and what comes next."""
    text = Text(folder.source if folder.file.exists() else "")
    begun = started(text)
    for each in lessons():
        if each.number == WHOLE + 1:
            say("What large models add:")
        passed = each in begun and folder.passed(each, text)
        state = "passed" if passed else "begun" if each in begun else f"{each.minutes} min"
        say(f"{each.number:2} {each.name:10} {state:8} {each.title}")
    say("All commands: microgpt school --help")
    _next(begun)


@school.command()
@click.argument("number", metavar="N", type=int)
@click.pass_obj
def start(folder: Folder, number: int) -> None:
    """Begin lesson N: its stubs are added to mygpt.py."""
    chosen = lesson(number)
    first = not folder.file.exists()
    added = folder.start(chosen)
    path = folder.path / f"{chosen.number:02}-{chosen.name}.md"
    files.write(path, chosen.page())
    text = Text(folder.source)
    say(f"Lesson {chosen.number}: {chosen.title} ({chosen.minutes} minutes)")
    if first:
        say(f"  Python {platform.python_version()} will do; {folder.file} can be written.")
    _predict(folder, chosen)
    say("")
    for name in chosen.writes:
        where = text.nodes[name].lineno
        state = "" if added else ", which is there already"
        say(f"  write {name}: {folder.file}, line {where}{state}")
    say(f"  read: {path}")
    say(f"  look: {_look(chosen)}")
    say("  then: microgpt school check    stuck: microgpt school hint")


def _predict(folder: Folder, lesson: Lesson) -> None:
    """Ask for a prediction, on a terminal; the answer is shown once there is one."""
    _paragraph(f"Predict first: {lesson.question}")
    said = folder.state.predictions.get(str(lesson.number), "")
    if not said and sys.stdin and sys.stdin.isatty():
        said = input("  Your prediction: ").strip()
        if said:
            folder.remember("predictions", lesson, said)
    if said:
        _paragraph(f"You said: {said}")
        _paragraph(f"Answer: {lesson.answer}")


@school.command()
@number
@click.pass_obj
def check(folder: Folder, number: int | None) -> int:
    """Check lesson N, or all that changed since it passed.

    Exits with 1 if something does not pass.
    """
    source = folder.source
    chosen = _pending(folder, Text(source)) if number is None else [lesson(number)]
    return 0 if all([_check(folder, source, each) for each in chosen]) else 1


def _pending(folder: Folder, text: Text) -> list[Lesson]:
    """Return the lessons that are begun and have not passed as they are; say so if none is."""
    begun = started(text)
    pending = [each for each in begun if not folder.passed(each, text)]
    if not begun:
        raise click.UsageError(f"{folder.file} holds no lesson; `microgpt school start 1`")
    if not pending:
        names = ", ".join(str(each.number) for each in begun)
        say(f"passed, and unchanged since: {names}")
        _next(begun)
    return pending


def _check(folder: Folder, source: str, lesson: Lesson) -> bool:
    """Check a lesson, print what came of it, and remember a pass."""
    text = Text(source)
    head, missing = f"{lesson.number} {lesson.name}", [*_missing(text, lesson)]
    if len(missing) == len(lesson.writes):
        say(f"{head}  not yet")
        if not any(name in text.nodes for name in lesson.writes):
            _paragraph(f"It is not begun: microgpt school start {lesson.number}")
        else:
            _paragraph(f"To write: {', '.join(missing)}")
        return False
    answer = sandbox.check(source, lesson.number)
    verdict = answer.verdict
    if not verdict:
        say(f"{head}  stopped")
        _paragraph(answer.stopped)
    elif answer.passed:
        say(f"{head}  passed  {verdict.passed} of {verdict.total}  {answer.seconds:.1f} s")
        folder.keep(f"{lesson.number:02}")
        folder.remember("passed", lesson, fingerprint(lesson, text))
        _paragraph(lesson.insight)
        _paragraph(lesson.question)
        _paragraph(f"Answer: {lesson.answer}")
        _next(started(text))
        say(f"  compare with gpt.py: microgpt school diff {lesson.number}")
    else:
        say(f"{head}  not yet  {verdict.passed} of {verdict.total}")
        _failed(verdict, lesson, missing)
    _printed(answer)
    return answer.passed


def _missing(text: Text, lesson: Lesson) -> Iterator[str]:
    """Yield what is not written yet, and where its stub is."""
    for name in lesson.writes:
        if name not in text.written():
            node = text.nodes.get(name)
            yield f"{name} (line {node.lineno})" if node else name


def _failed(verdict: Verdict, lesson: Lesson, missing: list[str]) -> None:
    """Print the smallest input that shows it, and the mistake if it is known."""
    if verdict.unwritten:
        _paragraph(f"{verdict.advice} To write: {', '.join(missing)}")
        return
    if failure := verdict.failure:
        _paragraph(f"{failure.what}: {failure.input}")
        _paragraph(f"your answer: {failure.got}", "    ")
        _paragraph(f"expected:    {failure.expected}", "    ")
    _paragraph(verdict.advice)
    say(f"  hint: microgpt school hint {lesson.number}    look: {_look(lesson)}")


def _look(lesson: Lesson) -> str:
    return f"microgpt lab, lesson {lesson.number}"


def _next(begun: list[Lesson]) -> None:
    left = [each for each in lessons() if each not in begun]
    if left and left[0].number > WHOLE:
        say("  mygpt.py is whole: microgpt school run")
    say(f"  next: microgpt school {f'start {left[0].number}' if left else 'run'}")


def _printed(answer: sandbox.Answer) -> None:
    """Print the beginning of what the learner's code printed, and how much more there was."""
    if not answer.printed:
        return
    say("  Your code printed:")
    for line in answer.printed.splitlines():
        say(f"    {line}")
    if answer.unshown:
        size = answer.unshown
        unit, size = ("MB", size // 10**6) if size >= 10**6 else ("bytes", size)
        say(f"    ... {size:,} {unit} more not shown")


def _paragraph(text: str, margin: str = "  ") -> None:
    for line in text.splitlines():
        for part in textwrap.wrap(line, WIDTH - len(margin), break_on_hyphens=False) or [""]:
            say(f"{margin}{part}")


@school.command()
@click.pass_obj
def watch(folder: Folder) -> None:
    """Check at every save, and when you press Enter.

    Ctrl-C ends it. The file is looked at twice a second, which works on network folders, too.
    """
    source = folder.source
    entered: queue.Queue[None] = queue.Queue()
    threading.Thread(target=_listen, args=(entered,), daemon=True).start()
    say(f"Watching {folder.file}. Save it, or press Enter, to check; Ctrl-C ends.", flush=True)
    while True:
        try:
            for each in _pending(folder, Text(source)):
                _check(folder, source, each)
        except (ValueError, click.UsageError) as error:  # a slip of the fingers does not end it
            say(f"  {error}")
        say("", flush=True)
        source = _changed(folder, source, entered)


def _listen(entered: "queue.Queue[None]") -> None:
    for _ in sys.stdin:
        entered.put(None)


def _changed(folder: Folder, before: str, entered: "queue.Queue[None]") -> str:
    """Wait until the file is another, or for Enter; return what the file holds."""
    while True:
        try:
            entered.get(timeout=POLL)
            asked = True
        except queue.Empty:
            asked = False
        try:
            source = folder.source
        except (OSError, ValueError) as error:  # in the middle of being saved, unless it stays so
            if asked:
                say(f"  {error}", flush=True)
            continue
        if asked or source != before:
            return source


@school.command()
@number
@click.pass_obj
def hint(folder: Folder, number: int | None) -> None:
    """Give the next hint of lesson N, of three.

    Without N, of the lesson that you are at.
    """
    chosen = _current(folder) if number is None else lesson(number)
    count = min(folder.state.hints.get(str(chosen.number), 0) + 1, len(chosen.hints))
    folder.remember("hints", chosen, count)
    for i, text in enumerate(chosen.hints[:count], 1):
        _paragraph(f"{i} of {len(chosen.hints)}: {text}")
    if count < len(chosen.hints):
        say(f"  one more: microgpt school hint {chosen.number}")


def _current(folder: Folder) -> Lesson:
    """Return the first lesson that is begun and has not passed, else the last one begun."""
    text = Text(folder.source)
    begun = started(text)
    if not begun:
        raise click.UsageError(f"{folder.file} holds no lesson; `microgpt school start 1`")
    return next((each for each in begun if not folder.passed(each, text)), begun[-1])


@school.command()
@click.argument("number", metavar="N", type=int)
@click.pass_obj
def diff(folder: Folder, number: int) -> None:
    """Compare your lesson N with gpt.py, once it has passed."""
    chosen, text = lesson(number), Text(folder.source)
    if not folder.passed(chosen, text):
        raise click.UsageError(
            f"lesson {number} has not passed as it is now; `microgpt school check {number}` first"
        )
    for name in chosen.writes:
        theirs = home(name)
        mine, right = (_lines(each, name) for each in (text, theirs))
        files = (f"{FILE}  {name}", f"{theirs.file}  {name}")
        lines = list(difflib.unified_diff(mine, right, *files, lineterm="", n=99))
        for line in lines or [f"{name} is the same as in {theirs.file}"]:
            say(line)
        say("")


def _lines(text: Text, name: str) -> list[str]:
    return textwrap.dedent(text.text(name)).splitlines()


@school.command()
@click.argument("number", metavar="N", type=int)
@click.pass_obj
def reset(folder: Folder, number: int) -> None:
    """Put the stubs of lesson N back.

    Your version is kept in history/.
    """
    kept = folder.reset(lesson(number))
    say(f"{folder.file} has the stubs of lesson {number} again;")
    say(f"your version is kept: {kept}")


@school.command()
@click.option("--steps", type=click.IntRange(1), default=1000, help="Optimizer steps.")
@click.pass_obj
def run(folder: Folder, steps: int) -> int:
    """Run mygpt.py: it learns, and prints names.

    What is not written yet comes from gpt.py.
    """
    source = folder.source
    written = Text(source).written()
    names = [name for each in lessons() for name in each.writes]
    mine = [name for name in names if name in written]
    for line in textwrap.wrap(
        f"yours: {', '.join(mine) or 'nothing yet'}; the rest is gpt.py's", WIDTH
    ):
        note(line)
    try:
        return _main(Program(source), steps)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = [frame for frame in frames if frame.filename == FILE]
        place = f"{FILE}, line {where[-1].lineno}, in {where[-1].name}" if where else FILE
        raise click.UsageError(f"{place}: {type(error).__name__}: {error}") from None


def _main(program: Program, steps: int) -> int:
    """Train, and print names; of somebody who has only counted pairs yet, the names of pairs."""
    if "bigram" in program.own and "Value" not in program.own:
        note("names of pairs of letters, as your bigram counts them:")
        for name in pair_names(program, dataset.default().documents, 20):
            say(name)
        return 0
    try:
        path = dataset.published()
    except OSError:
        path = dataset.WORLD
    status = program.main([str(path)], steps)
    return status if isinstance(status, int) else 0


@school.command()
@options.out("Where to write it; by default report.txt in the folder.")
@click.option("--name", default="", show_default=False, help="Who hands it in.")
@click.option("--check", "given", metavar="FILE", type=options.File(), help="Check a report again.")
@click.pass_obj
def report(folder: Folder, out: str | None, name: str, given: str | None) -> None:
    """Write a report to hand in, or check one.

    It holds what every check says now, and mygpt.py itself. With --check, what a report says is not
    believed: the file in it is checked again.
    """
    if given:
        if out or name:
            raise click.UsageError("--check reads a report; -o and --name write one")
        try:
            text = Path(given).read_text("utf-8-sig")
            source = reports.source_of(text)
        except ValueError as error:
            raise click.UsageError(f"{given} is not a report: {error}") from None
        for each, answer in reports.results(source):
            say(reports.line(each, answer), flush=True)
        return
    path = out or str(folder.path / "report.txt")
    files.target(path, [folder.file])
    lines = []
    for line in reports.compose(name, folder.source, folder.state.predictions):
        lines.append(line)
        if len(line) < WIDTH:
            note(line)
    files.write(path, "\n".join(lines) + "\n")
    say(path)


@school.command(name="swap")
@click.argument("file", type=options.File())
@click.argument("names", metavar="[NAME]...", nargs=-1)
@options.data("names, world, or a file of one document a line.", "names, or world")
@click.option("--seeds", type=click.IntRange(1, 100), default=5, help="Runs of each version.")
@click.option("--steps", type=click.IntRange(1), default=1000, help="Optimizer steps of each run.")
@click.option(
    "-o",
    "--out",
    metavar="FILE",
    type=options.File(),
    default="swap.json",
    help="Where finished runs are kept; the same command goes on from there.",
)
def exchange(
    file: str, names: tuple[str, ...], data: str | None, seeds: int, steps: int, out: str
) -> int:
    """Put your functions in the place of gpt.py's.

    NAMEs say which functions of FILE; without any, all that gpt.py has, too. Both versions learn
    from the same documents and seeds, in processes side by side, and are judged on documents that
    are held out. Seeds differ by chance, so each difference comes with its spread.
    """
    text = Text(Path(file).read_bytes().decode("utf-8-sig", "replace"), Path(file).name)
    source, taken = swap.variant(text, names)
    documents = dataset.load(data) if data else dataset.default()
    files.target(out, [file])
    results = swap.load_results(out)
    _paragraph(f"{text.file} gives: {', '.join(taken)}", "")
    parted = swap.part(source, text.file)
    for line in [f"While both read {swap.DOCUMENT!r}:", *str(parted).splitlines()]:
        say(line, flush=True)
    seeds_ = tuple(range(42, 42 + seeds))
    plan = swap.Plan(source, text.file, documents.documents, seeds_, steps)
    if not _train(plan, results, out):
        kept = (
            f"finished runs are in {out}, the same command goes on" if results else "none finished"
        )
        note(f"stopped; {kept}")
        return 130
    _compared(plan, swap.compare(plan, results), documents.name)
    return 0


def _train(plan: swap.Plan, results: swap.Results, out: str) -> bool:
    """Make the runs that are missing, showing how far they are; False if Ctrl-C stopped it."""
    total, known = plan.steps * len(plan.jobs()), len(results)
    try:
        with counting(total, "steps") as show:
            for done in swap.run(plan, results, os.cpu_count() or 1):
                show(done)
                if len(results) > known:
                    known = len(results)
                    swap.save_results(out, results)
    except KeyboardInterrupt:
        return False
    return True


def _compared(plan: swap.Plan, found: swap.Comparison, data: str) -> None:
    say(f"Loss on {swap.HELD_OUT} held-out documents of {data} after {plan.steps:,} steps (nats a")
    say("character, the end included):")
    say(f"  {'seed':6}{'gpt.py':>10}{plan.file[:14]:>16}{'difference':>12}")
    for (seed, ours, theirs), difference in zip(found.pairs, found.differences, strict=True):
        say(f"  {seed:<6}{ours:10.4f}{theirs:16.4f}{difference:+12.4f}")
    say(found.verdict())
    say(f"A step takes {found.slower:.2f} times as long as gpt.py's.")
    for name, made in zip(("gpt.py", plan.file), found.names, strict=True):
        say(f"{name} says: {', '.join(made)}")


@school.command(name="kit")
@click.option(
    "-o", "--out", metavar="DIR", type=PATH, required=True, help="A new folder for the pages."
)
@click.option(
    "--pyodide",
    metavar="DIR",
    type=options.File(),
    default="node_modules/pyodide",
    help="Where npm put Pyodide, which the lab on the stick runs on.",
)
def make_kit(out: Path, pyodide: str) -> None:
    """Write what a teacher needs: pages to print, and the lab.

    The pages are HTML and ask nothing of a network: plans, a worksheet, code to read and to sort,
    talk, the lessons, the model on one page, and a key. Where Pyodide is found (npm install
    pyodide@314.0.7), the lab is written beside them, for a USB stick.
    """
    from microgpt.lab.export import PYODIDE, export  # a server and all: only when it is needed
    from microgpt.school import kit

    found = Path(pyodide).is_dir()
    kit.write(out, (lambda place: export([], str(place), pyodide)) if found else None)
    if not found:
        note(f"without the lab: {pyodide} is not there; `npm install pyodide@{PYODIDE}` makes it")
    say(f"{out / 'index.html'}")


@school.command()
@click.option(
    "-o", "--out", metavar="DIR", type=PATH, default="bugs", help="A folder for the cartridges."
)
@click.option("--key", is_flag=True, help="Print what is wrong in each, for the teacher.")
def bugs(out: Path, key: bool) -> None:
    """Make three cartridges, each with a bug to find, and their model.

    They are for the lab on systems, docs/labs/systems.md. The model is the one that ships with
    microgpt.
    """
    from microgpt.checkpoint import SHIPPED, Checkpoint  # numpy takes a while
    from microgpt.school import cartridges

    if key:
        for number, bug in enumerate(cartridges.BUGS, 1):
            for line in textwrap.wrap(f"{number}.sfc: {bug.answer}", WIDTH, break_on_hyphens=False):
                say(line)
        return
    *made, model = cartridges.write(out, Checkpoint.load(SHIPPED))
    for path in made:
        say(f"{path}: microgpt play {path} --check {model}")
