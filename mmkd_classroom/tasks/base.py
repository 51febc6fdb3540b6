"""The contract of a task: what the raw output of a stock model means.

A strategy speaks only of samples with K items each (joints, or one for a class), of scores and
of divergences. The task knows where the model keeps its output and how to compare two of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ClassroomError
from ..rankers import Ranker
from ..structures import Prediction


class Task(nn.Module, ABC):
    """One kind of stock model, and the ranker that judges it.

    Args:
        ranker: A ranker of this task's kind.

    Raises:
        ClassroomError: The ranker is of another kind.
    """

    #: The kind of ranker that fits.
    kind: str

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        if ranker.kind != self.kind:
            raise ClassroomError(
                f'model.ranker is a {type(ranker).__name__}, which ranks {ranker.kind}, but '
                f'model.task is a {type(self).__name__} and needs a ranker of {self.kind}.'
            )
        self.ranker = ranker

    @abstractmethod
    def check_student(self, student: nn.Module) -> None:
        """Raise a :class:`ClassroomError` if the student does not fit this task."""

    @abstractmethod
    def check_mentor(self, mentor: nn.Module, student: nn.Module, key: str) -> None:
        """Raise a :class:`ClassroomError` if a mentor cannot teach this student.

        Args:
            mentor: Stock model.
            student: Stock model that passed :meth:`check_student`.
            key: The mentor's config key, such as ``model.mentors[0]``.
        """

    @abstractmethod
    def check_samples(self, data_samples: Sequence[Any]) -> None:
        """Raise a :class:`ClassroomError` if training samples lack what scoring needs."""

    @abstractmethod
    def truth(self, data_samples: Sequence[Any], device: torch.device) -> Any:
        """The batch's truth on the device, with ``weights`` ``(N, K)``."""

    @abstractmethod
    def as_prediction(self, model: nn.Module, output: Any) -> Prediction:
        """Wrap what the model's head returned."""

    @abstractmethod
    def divergence(
        self,
        student: Prediction,
        mentor: Prediction,
        temperature: Tensor,
        student_temperature: Tensor | None = None,
    ) -> Tensor:
        """Divergence of the student from a mentor, scaled by the squared temperature.

        Args:
            student: With gradient.
            mentor: Without.
            temperature: Broadcastable to ``(N, K)``.
            student_temperature: The same; by default the mentor's.

        Returns:
            ``(N, K)``, not negative.
        """

    @abstractmethod
    def peak(self, prediction: Prediction) -> Tensor:
        """Greatest logit of each item, ``(N, K)``."""

    @abstractmethod
    def judged(self, prediction: Prediction) -> Tensor:
        """What the ranker reads: ``(N, C)`` logits or ``(N, K, 2)`` joints, at least float32."""

    @abstractmethod
    def per_sample(self, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The head's loss function, returning ``(N,)`` instead of the mean over the batch."""

    def capture(
        self, student: nn.Module, inputs: Tensor, data_samples: Sequence[Any], per_sample: bool
    ) -> tuple[Prediction, dict[str, Tensor]]:
        """Run the student's own loss once and keep the output that its head computed in it.

        Args:
            student: Stock model.
            inputs: ``(N, 3, H, W)``.
            data_samples: N samples.
            per_sample: Whether losses keep their sample dimension.

        Returns:
            The prediction, with gradient, and the stock losses.
        """
        head = student.head
        with ExitStack() as stack:
            outputs = stack.enter_context(shadowed(head, 'forward', recording))
            if per_sample:
                modules = head.loss_module  # several where each stage has its own
                for module in modules if isinstance(modules, nn.ModuleList) else [modules]:
                    stack.enter_context(shadowed(module, 'forward', self._per_sample))
            losses = student.loss(inputs, data_samples)
        return self.as_prediction(student, outputs[-1]), losses

    def _per_sample(self, loss: Callable[..., Tensor]) -> tuple[Callable[..., Tensor], None]:
        return self.per_sample(loss), None

    def predict(self, mentor: nn.Module, inputs: Tensor) -> Prediction:
        """Run a mentor; values that are not finite make their sample invalid.

        Args:
            mentor: Stock model in evaluation mode.
            inputs: ``(N, 3, H, W)`` in the mentor's own view.

        Returns:
            The prediction with ``valid``.
        """
        prediction = self.as_prediction(mentor, mentor(inputs, None, mode='tensor'))
        values = prediction.values
        # One pass, no copy to the host: a sum is finite only if all its terms are.
        valid = values.flatten(1).sum(dim=1, dtype=torch.float32).isfinite()
        shape = (-1,) + (1,) * (values.ndim - 1)
        prediction.values = torch.where(valid.view(shape), values, torch.zeros_like(values))
        prediction.valid = valid
        return prediction

    def scores(self, members: list[Prediction], truth: Any) -> Tensor:
        """Score of each item of each sample for all members, ``(M + 1, N, K)``, detached."""
        score = self.ranker.score(self._judged(members), truth)
        return score * self._valid(members)[..., None]

    def batch_scores(self, members: list[Prediction], truth: Any) -> Tensor:
        """One score per member for the whole batch, ``(M + 1,)``, detached."""
        return self.ranker.batch_score(self._judged(members), truth, self._valid(members))

    def correct(self, members: list[Prediction], truth: Any) -> Tensor:
        """Whether each member is right on each sample, ``(M + 1, N)`` booleans."""
        return self.ranker.correct(self._judged(members), truth)

    @staticmethod
    def _valid(members: list[Prediction]) -> Tensor:
        return torch.stack([member.valid for member in members])

    def _judged(self, members: list[Prediction]) -> Tensor:
        with torch.no_grad():
            return torch.stack([self.judged(member) for member in members])


@contextmanager
def shadowed(module: nn.Module, name: str, wrap: Callable) -> Iterator[Any]:
    """Shadow a method of one instance.

    Stock heads call ``self.forward`` directly, which forward hooks do not see.

    Args:
        module: The instance.
        name: Its method.
        wrap: Takes the method, returns the one to use instead and what to yield.
    """
    before = vars(module).get(name)
    method, result = wrap(getattr(module, name))
    setattr(module, name, method)
    try:
        yield result
    finally:
        delattr(module, name) if before is None else setattr(module, name, before)


def recording(method: Callable) -> tuple[Callable, list]:
    """For :func:`shadowed`: the method as it is, and a list that collects what it returns."""
    outputs: list = []

    def record(*args: Any, **kwargs: Any) -> Any:
        outputs.append(method(*args, **kwargs))
        return outputs[-1]

    return record, outputs
