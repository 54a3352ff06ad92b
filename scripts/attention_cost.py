"""Writes rpecli/report/attention_cost.json, what attention with each encoding costs, from the shipped benchmark.

rpe bench attention --lengths 2048 --out results/shipped/bench     # on a quiet machine
python scripts/attention_cost.py
"""

import json
from pathlib import Path
from typing import Any

from rpecli.report import attention_cost

BENCH = Path(__file__).resolve().parents[1] / "results" / "shipped" / "bench" / "attention.json"


def costs(bench: dict[str, Any]) -> dict[str, Any]:
    """The ratios to plain attention at the shortest length of the benchmark, and where they were measured."""
    rows = [row for row in bench["rows"] if row["ratio"] is not None]
    length = min(row["length"] for row in rows)
    ratios = {row["encoding"]: round(row["ratio"], 3) for row in rows if row["length"] == length}
    facts = bench["facts"]
    return {"length": length, "machine": facts["machine"], "device": facts["device"], "commit": facts["commit"], "ratio": ratios}


def main() -> None:
    text = json.dumps(costs(json.loads(BENCH.read_text(encoding="utf-8"))), indent=1)
    attention_cost.FILE.write_text(f"{text}\n", encoding="utf-8")
    print(f"{attention_cost.FILE.name} written")


if __name__ == "__main__":
    main()
