"""What attention with each shipped encoding costs: interleaved timing by `rpe bench attention`, shipped with rpe."""

import json
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("attention_cost.json")


@dataclass(frozen=True)
class AttentionCost:
    """Ratios of the time of a forward pass of attention to that of plain attention, by the name of the encoding."""

    length: int  # tokens
    machine: str
    device: str
    commit: str
    ratio: dict[str, float]

    @property
    def note(self) -> str:
        """Where and how it was measured."""
        return (
            f"Attention time: a forward pass of attention, relative to NoPE, at {self.length} tokens, both timed in turn "
            f"({self.machine}, {self.device}, commit {self.commit[:8]}); `rpe bench attention` measures it on your machine."
        )


def read() -> AttentionCost:
    return AttentionCost(**json.loads(FILE.read_text(encoding="utf-8")))
