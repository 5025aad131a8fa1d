"""The school's texts as HTML: lessons, the tour, the words."""

import re
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

PREDICT = re.compile(r"^```predict\n```$", re.M)


def html(text: str) -> str:
    """Return Markdown as HTML; what it says in HTML is shown as written.

    A fence marked `view` is a link: its first line is an address in the lab, the rest its words.
    """
    return str(_markdown().render(text))


def around(text: str) -> tuple[str, str]:
    """Return, as HTML, what is to be read before the prediction, and what after it.

    Raises:
        ValueError: the text does not have one fence marked `predict`.
    """
    parts = PREDICT.split(text)
    if len(parts) != 2:
        raise ValueError(f"a lesson has one fence marked predict, not {len(parts) - 1}")
    return html(parts[0]), html(parts[1])


@cache
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("fence", _fence)
    return markdown


def _fence(
    renderer: RendererHTML, tokens: list[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    if tokens[index].info != "view":
        return renderer.fence(tokens, index, options, env)
    place, _, words = tokens[index].content.strip().partition("\n")
    link = Token("link_open", "a", 1, attrs={"href": f"#{place}"})
    shown = _markdown().renderInline(words or place)
    return f'<p class="look"><a{renderer.renderAttrs(link)}>{shown}</a></p>\n'
