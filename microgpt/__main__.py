"""python -m microgpt: the `microgpt` command."""

from microgpt.cli import main

if __name__ == "__main__":
    main()
