"""The daily commands: which there are, and how one of them is run."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...module_utils.system.errors import InvalidInput
from . import completion, doctor, orders
from .command_context import NOTHING_DONE, CommandContext, Failed
from .mark_commands import accept_command, hold_command, release_command, retire_command
from .question_commands import diff_command, find_command, list_command, ls_command
from .restore_commands import adopt_command, restore_command
from .supervised_run import say
from .verdict import EXIT_CODES, INTERRUPTED


def _drill(context: CommandContext) -> int:
    return context.do(orders.drilling(context.arguments.nodes, check=context.arguments.check))


def _check(context: CommandContext) -> int:
    arguments = context.arguments
    return context.do(
        orders.checking(
            arguments.nodes, context.day(arguments.at), everything=arguments.everything, check=arguments.check
        )
    )


def _completion(context: CommandContext) -> int:
    print(completion.script(context.arguments.shell), file=context.out)
    return 0


@dataclass(frozen=True)
class Command:
    """A command: its function and help, and its positional arguments."""

    act: Callable[[CommandContext], int]
    help: str
    places: Sequence[str] = ()
    """Positional arguments that may follow options; a last one that ends with * takes all that remain"""


COMMANDS: dict[str, Command] = {
    "list": Command(list_command, "what there is, where, and how old it is; of one item every night", ("item?",)),
    "ls": Command(ls_command, "what is in a tarball", ("item", "path?")),
    "find": Command(find_command, "where a file is, over items and nights", ("name",)),
    "diff": Command(diff_command, "what changed between two nights", ("item", "days*")),
    "restore": Command(restore_command, "bring an item back, or one file of it", ("item", "part?")),
    "adopt": Command(adopt_command, "take restored items for live data, so that they are backed up", ("items*",)),
    "accept": Command(accept_command, "accept the suspects of an item", ("item",)),
    "hold": Command(hold_command, "keep a tarball until it is released", ("item", "why?")),
    "release": Command(release_command, "keep a tarball no longer than the rules do", ("item",)),
    "retire": Command(retire_command, "say that an item was given up", ("item",)),
    "drill": Command(_drill, "prove that copies restore", ("nodes*",)),
    "check": Command(_check, "read the tarballs of a day again", ("nodes*",)),
    "doctor": Command(doctor.act, "what of a set-up is right, what is not, and what mends it"),
    "completion": Command(_completion, "print what makes a shell complete the commands", ("shell",)),
}


def take_rest(arguments: argparse.Namespace, rest: Sequence[str]) -> list[str]:
    """Fill positional arguments that follow options from the unparsed words; return the words that remain."""
    left = list(rest)
    for place in COMMANDS[arguments.command].places:
        word = place.rstrip("?*")
        if place.endswith("*"):
            given = [each for each in left if not _is_option(each)]
            setattr(arguments, word, [*(getattr(arguments, word) or ()), *given])
            left = [each for each in left if _is_option(each)]
        elif place.endswith("?") and not getattr(arguments, word) and left and not _is_option(left[0]):
            setattr(arguments, word, left.pop(0))
    return left


def _is_option(word: str) -> bool:
    return word.startswith("-") and not word[1:].isdigit()


def act(arguments: argparse.Namespace, rest: Sequence[str], passed: Sequence[str]) -> int:
    """Run the command of a parsed command line; return the exit code. `rest` was not parsed, `passed` is for ansible-playbook."""
    context = CommandContext(arguments, passed)
    try:
        left = take_rest(arguments, rest)
        if left:
            raise InvalidInput(f"unknown: {' '.join(left)}")
        if arguments.command == "adopt" and not arguments.items:
            raise InvalidInput("say which items are adopted")
        if arguments.command == "diff" and len(arguments.days) > 2:
            raise InvalidInput("two nights are compared, no more")
        return COMMANDS[arguments.command].act(context)
    except InvalidInput as error:
        say(str(error))
        return NOTHING_DONE
    except Failed as failed:
        return context.tell(failed.code, []) if getattr(arguments, "json", False) else failed.code
    except KeyboardInterrupt:
        return EXIT_CODES[INTERRUPTED]
