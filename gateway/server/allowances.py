"""How often each of many may do something: so many times a minute, also all at once, and then at that pace.

Owns the counting and its bound in memory: one number for each of the names that were seen last. Refuses to know what
is counted and what happens to whoever has used an allowance up. Time comes from outside.
"""

from collections import OrderedDict
from typing import Final

WINDOW_S: Final = 60.0
"""An allowance is for a minute; one that was not used for so long is whole again."""


class Allowances:
    """Allowances of ``a_minute`` for each of the ``most`` names that were seen last; one that is forgotten is whole.

    For each name one moment is kept: when its allowance would be whole again. Every use moves that moment on by the
    time in which one use is earned, and a use that would move it further than a minute away is one too many.
    """

    def __init__(self, a_minute: int, most: int) -> None:
        self._earned_s: Final = WINDOW_S / a_minute
        self._most: Final = most
        self._whole_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._whole_at)

    def take(self, name: str, now: float) -> float:
        """Use one; gives 0, or the seconds after which there will be one again, and then none was used."""
        wait_s = self.wait_s(name, now)
        if not wait_s:
            self._whole_at[name] = max(self._whole_at.get(name, now), now) + self._earned_s
            if len(self._whole_at) > self._most:
                self._whole_at.popitem(last=False)
        if name in self._whole_at:
            self._whole_at.move_to_end(name)
        return wait_s

    def give_back(self, name: str) -> None:
        """Take a use back that turned out not to count."""
        if name in self._whole_at:
            self._whole_at[name] -= self._earned_s

    def wait_s(self, name: str, now: float) -> float:
        """Seconds after which there is one to use; 0 where there is one now."""
        whole_at = max(self._whole_at.get(name, now), now)
        # A millionth of a second less, so that sums of many small steps do not fall short of a whole minute.
        return max(0.0, whole_at + self._earned_s - now - WINDOW_S - 1e-6)
