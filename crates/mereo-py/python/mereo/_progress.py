"""Progress of a fit: a bar by tqdm where that is installed, else lines."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Callable


class Bar:
    """A bar that the core's messages move; silent where ``verbose`` is 0."""

    def __init__(self, label: str, verbose: Any) -> None:
        self._label, self._verbose = label, int(verbose or 0)
        self._bar: Any = None
        self._said = 0.0
        self.see: Callable[[str], None] | None = self._see if self._verbose > 0 else None

    def __enter__(self) -> Bar:
        if self._verbose > 0:
            try:
                from tqdm.auto import tqdm

                self._bar = tqdm(desc=self._label, unit="pass", file=sys.stderr, bar_format="{l_bar}{bar}| {n:.1f}/{total} [{elapsed}<{remaining}{postfix}]")
            except ImportError:
                self._bar = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _see(self, message: str) -> None:
        told = json.loads(message)
        at = told["pass"] - 1 + told["part"]
        facts = {"loss": f"{told['loss']:.4g}"}
        if told.get("held") is not None:
            facts["held out"] = f"{told['held']:.4g}"
        if told.get("l0") is not None:
            facts["L0"] = f"{told['l0']:.1f}"
            facts["dead"] = f"{100 * told['dead']:.1f} %"
        if told["restart"]:
            facts["start"] = str(told["restart"] + 1)
        if self._bar is not None:
            self._bar.total = told["of"]
            self._bar.n = round(at, 2)
            self._bar.set_postfix(facts, refresh=False)
            self._bar.refresh()
        elif time.monotonic() - self._said > 1.0:
            self._said = time.monotonic()
            print(f"{self._label}: pass {at:.1f} of {told['of']}, " + ", ".join(f"{k} {v}" for k, v in facts.items()), file=sys.stderr)
