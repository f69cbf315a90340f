"""Options that take several values after one flag (`--caller-audio A.wav B.wav`), which click does not have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click


class SpreadCommand(click.Command):
    """A command whose repeatable options (`multiple=True`) may be given once with several values."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        names = {name for parameter in self.params if isinstance(parameter, click.Option) and parameter.multiple for name in parameter.opts}
        return super().parse_args(ctx, list(spread(args, names)))


def spread(args: Sequence[str], names: set[str]) -> Iterator[str]:
    """The arguments with the flag repeated before each of its further values."""
    flag = ""
    first = False
    for arg in args:
        if arg.startswith("-") and arg != "-":
            flag, first = (arg, True) if arg in names else ("", False)
            yield arg
            continue
        if flag and not first:
            yield flag
        first = False
        yield arg
