"""A pickle is gone through before it is run: what could take memory out of proportion, or crash Python, is refused.

`RestrictedUnpickler` sees to it that nothing is imported or called. It cannot see to the steps of the program, which
the standard library's unpickler takes as they are: a place in its table two thousand million further on is made room
for at once, and to hash a million tuples in each other takes more of the stack than there is.
"""

from __future__ import annotations

import pickletools
from pickle import UnpicklingError
from typing import IO

#: Steps, each of which may make an object of some hundred bytes; an official checkpoint has some fifty thousand.
MOST_STEPS = 400_000
#: Tuples in each other.
DEEPEST = 100

_MARK = -1
_PUTS, _GETS = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")
_TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
#: What `torch.save` never writes: numbers in place of names, and arrays of bytes of a size that the program says.
_REFUSED = ("EXT1", "EXT2", "EXT4", "BYTEARRAY8", "NEXT_BUFFER")
#: What torch's own loader calls, too, with any number.
_BYTEARRAY = ("builtins bytearray", "__builtin__ bytearray")


def check_pickle(file: IO[bytes], most: int = MOST_STEPS, for_torch: bool = False) -> int:
    """Go through a pickle without running it, up to its end.

    Args:
        file: is read up to the end of the pickle.
        most: steps that it may have.
        for_torch: it is for torch's own loader, which calls some of what a pickle names.

    Returns:
        Its steps.

    Raises:
        UnpicklingError: it has more steps, asks for a place beyond them, or does what `torch.save` never does.
        ValueError: it is no pickle.
        IndexError: it takes from the stack what is not there.
    """
    stack: list[int] = []  # of each object, how many tuples lie in each other there
    memo: dict[int, int] = {}
    count = 0
    for count, (step, argument, _) in enumerate(pickletools.genops(file), 1):
        if count > most:
            raise UnpicklingError(f"it has more than {most:,} steps")
        is_called = for_torch and (step.name == "STACK_GLOBAL" or (step.name == "GLOBAL" and argument in _BYTEARRAY))
        if step.name in _REFUSED or is_called:
            raise UnpicklingError(f"it has the step {step.name}, as torch.save writes none")
        if step.name in _PUTS:
            place = int(argument or 0)
            if not 0 <= place <= most:
                raise UnpicklingError(f"it asks for the place {place:,}; expected at most {most:,}")
            memo[place] = stack[-1]
        elif step.name in _GETS:
            stack.append(memo.get(int(argument or 0), 0))
        elif step.name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        else:
            _take(step, stack)
    return count


def _take(step: pickletools.OpcodeInfo, stack: list[int]) -> None:
    """Do to the stack what a step does to it."""
    taken = []
    if pickletools.stackslice in step.stack_before:
        while (depth := stack.pop()) != _MARK:
            taken.append(depth)
    above = [kind for kind in step.stack_before if kind not in (pickletools.stackslice, pickletools.markobject)]
    taken += [stack.pop() for _ in above]
    if step.name == "DUP":
        stack += taken * 2
    elif step.name in _TUPLES:
        stack.append(max(taken, default=0) + 1)
        if stack[-1] > DEEPEST:
            raise UnpicklingError(f"more than {DEEPEST} tuples lie in each other")
    else:
        stack += [_MARK if kind is pickletools.markobject else 0 for kind in step.stack_after]
