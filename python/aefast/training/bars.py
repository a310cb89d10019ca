"""Draws progress on a terminal, with rich."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from aefast.training.display import Silence

if TYPE_CHECKING:
    from aefast.training.callbacks import EpochInfo


class Bars(Silence):
    """Draws one line on standard error: the current step, rows a second, elapsed and remaining time.

    Parameters
    ----------
    transient : bool
        Remove the line at the end.
    """

    def __init__(self, *, transient: bool = False) -> None:
        self._line = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[done]}", table_column=Column(no_wrap=True)),
            _Computed(_rate),
            _Computed(_times),
            console=Console(stderr=True, highlight=False),
            transient=transient,
            expand=True,
        )
        self._epoch = 0

    def __enter__(self) -> Bars:
        self._line.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._line.stop()

    def _begin(self, what: str, total: float | None, done: str = "", rows_of_one: int | None = None) -> None:
        """Show a step in place of the one before it; ``rows_of_one`` is the number of rows of one unit of it."""
        for task in self._line.task_ids:
            self._line.remove_task(task)
        self._step = self._line.add_task(what, total=total, done=done, rows_of_one=rows_of_one, speed=0.0)
        self._is_training = False

    def _advance(self, step: TaskID, completed: float, **fields: Any) -> None:
        """Update a step, if it is still shown."""
        for task in self._line.tasks:
            if task.id == step:
                speed = completed / max(task.elapsed or 0.0, 1e-3)
                self._line.update(step, completed=completed, speed=speed, **fields)

    def rows(self, what: str, n_rows: int | None) -> Callable[[int], None]:
        self._begin(what, n_rows, rows_of_one=1)
        step, n_done = self._step, 0

        def advance(rows: int) -> None:
            nonlocal n_done
            n_done += rows
            total = None if n_rows is None else max(n_rows, n_done)
            self._advance(step, n_done, total=total, done=f"{n_done:,} rows")

        return advance

    def step(self, what: str) -> None:
        self._begin(what, None)

    def epochs(self, max_epochs: int, n_rows: int | None = None) -> None:
        self._begin("training", max_epochs, f"0/{max_epochs} epochs", n_rows)
        self._is_training, self._n_rows = True, n_rows

    def passes(self, n_rows: int | None) -> Callable[[], Callable[[int], None]]:
        self._n_rows = n_rows

        def begin() -> Callable[[int], None]:
            if self._epoch == 0:
                return self.rows("reading", n_rows)
            n_done = 0

            def advance(rows: int) -> None:
                nonlocal n_done
                n_done += rows
                if n_rows and self._is_training:
                    self._advance(self._step, self._epoch + min(n_done / n_rows, 1))

            return advance

        return begin

    def __call__(self, info: EpochInfo) -> None:
        if not self._is_training:
            self.epochs(info.max_epochs, self._n_rows)
        self._epoch = info.epoch
        loss = info.loss if info.validation_loss is None else info.validation_loss
        done = f"{info.epoch}/{info.max_epochs} epochs, loss {loss:.4g}"
        self._advance(self._step, info.epoch, done=done)


class _Computed(ProgressColumn):
    """A column whose text is a function of the step."""

    def __init__(self, text_of: Callable[[Task], str]) -> None:
        super().__init__(Column(no_wrap=True, justify="right"))
        self._text_of = text_of

    def render(self, task: Task) -> Text:
        return Text(self._text_of(task))


def _rate(step: Task) -> str:
    """Return the rows a second, on average over the step."""
    speed, rows = step.fields["speed"], step.fields["rows_of_one"]
    return f"{speed * rows:,.0f} rows/s" if speed and rows else ""


def _times(step: Task) -> str:
    """Return the elapsed time, and the remaining time if it is known."""
    elapsed, speed = step.elapsed or 0.0, step.fields["speed"]
    if not speed or step.total is None or step.finished:
        return _clock(elapsed)
    return f"{_clock(elapsed)}, {_clock(max(step.total / speed - elapsed, 0.0))} left"


def _clock(seconds: float) -> str:
    """Return a time as 0:05, 12:34 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
