"""The contract of a task: what the raw output of a stock model means.

A strategy speaks only of samples with K items each (joints, or one for a class), of scores and of
divergences between distributions. The task knows where the model keeps its output, how a mentor's
is read in the student's terms, and how to compare two of them.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ..errors import ClassroomError
from ..functional import item_weights, kl_divergence, soft_target_divergence, softened
from ..rankers import Ranker
from ..structures import Geometry, Prediction


class Reader(ABC):
    """Reads a mentor's raw output as a prediction in the student's form.

    Attributes:
        summary: What the mentor teaches and how its output is converted, for people.
        untaught: Names of the student's items that the mentor does not have.
    """

    summary: str
    untaught: Sequence[str] = ()

    @abstractmethod
    def __call__(self, output: Any) -> Prediction:
        """Wrap what the mentor's head returned; see :func:`finite_part`."""

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:  # noqa: B027 (may do nothing)
        """Move tensors as ``nn.Module._apply`` moves parameters."""

    def bind(self, names: Sequence[str] | None) -> None:  # noqa: B027
        """Learn the names of the student's joints, which only the data tell."""


class Task(nn.Module, ABC):
    """One kind of stock model, and the ranker that judges it.

    Args:
        ranker: A ranker of this task's kind; by default the one that suits the training data.

    Raises:
        ClassroomError: The ranker is of another kind.
    """

    #: The kind of ranker that fits.
    kind: str
    #: What an entry of ``model.mentors`` may say to this task alone.
    mentor_options: frozenset[str] = frozenset()
    #: ClassroomKD's ``tau_max`` where the config gives none.
    tau_max: float = 4.0
    #: Whether the divergence is one of distributions, so that mentors' can be mixed.
    compares_distributions: bool = True

    def __init__(self, ranker: Ranker | None = None) -> None:
        super().__init__()
        if ranker is not None and ranker.kind != self.kind:
            raise ClassroomError(
                f'model.ranker is a {type(ranker).__name__}, which ranks {ranker.kind}, but '
                f'model.task is a {type(self).__name__} and needs a ranker of {self.kind}.'
            )
        self.ranker = ranker

    # --- models ---------------------------------------------------------------------------------

    @abstractmethod
    def check_student(self, student: nn.Module) -> None:
        """Raise a :class:`ClassroomError` if the student does not fit this task."""

    @abstractmethod
    def input_size(self, model: nn.Module, key: str) -> tuple[int, int] | None:
        """Width and height that a model must have, or None where it may take others.

        Raises:
            ClassroomError: The model is of another kind.
        """

    def check_per_sample(self, student: nn.Module) -> None:  # noqa: B027 (may do nothing)
        """Raise a :class:`ClassroomError` if :meth:`per_sample` cannot split the student's loss."""

    def usual_size(self, model: nn.Module, config: Config) -> tuple[int, int] | None:
        """Width and height to show a mentor where :meth:`input_size` leaves it open.

        Args:
            model: Stock model that passed :meth:`input_size`.
            config: Its whole config, which may name how it is tested.

        Returns:
            None takes the student's.
        """
        return None

    @abstractmethod
    def reader(
        self,
        mentor: nn.Module,
        student: nn.Module,
        key: str,
        config: Config,
        geometry: Geometry | None = None,
        **options: Any,
    ) -> Reader:
        """How a mentor's output is read.

        Args:
            mentor: Stock model.
            student: Stock model that passed :meth:`check_student`.
            key: The mentor's config key, such as ``model.mentors[0]``.
            config: The mentor's whole config, which may name its data set.
            geometry: Where the student's pixels lie in the mentor's input, where both are known.
            options: Those of :attr:`mentor_options` that the entry has.

        Raises:
            ClassroomError: The mentor cannot teach this student.
        """

    # --- data -----------------------------------------------------------------------------------

    @abstractmethod
    def check_samples(self, data_samples: Sequence[Any], metainfo: dict | None = None) -> None:
        """Raise a :class:`ClassroomError` if training samples lack what scoring needs.

        Args:
            data_samples: At least one.
            metainfo: That of their data set, where it is at hand.
        """

    def item_names(self, data_samples: Sequence[Any]) -> tuple[str, ...] | None:
        """Names of the items (joints) of the training samples, where they have some."""
        return None

    @abstractmethod
    def truth(self, data_samples: Sequence[Any], device: torch.device) -> Any:
        """The batch's truth on the device, with ``weights`` ``(N, K)``."""

    # --- predictions ----------------------------------------------------------------------------

    @abstractmethod
    def as_prediction(self, student: nn.Module, output: Any) -> Prediction:
        """Wrap what the student's head returned."""

    @abstractmethod
    def logits(self, prediction: Prediction) -> tuple[Tensor, ...]:
        """The distributions of each item, ``(N, K, D)`` each: one, or SimCC's two axes.

        At least float32, with the student's gradient.
        """

    @abstractmethod
    def judged(self, prediction: Prediction) -> Tensor:
        """What the ranker reads: ``(N, C)`` logits or ``(N, K, 2)`` joints, at least float32."""

    @abstractmethod
    def write(
        self, prediction: Prediction, data_samples: Sequence[Any], student: nn.Module
    ) -> list[Any]:
        """Put a prediction into samples, as the stock student puts its own, for stock metrics."""

    @abstractmethod
    def per_sample(self, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The head's loss function, returning ``(N,)`` instead of the mean over the batch."""

    def scale(self, logits: Tensor) -> float:
        """Factor of the divergence of ``(N, K, D)`` logits beside the head's own loss."""
        return 1.0

    def divergence(
        self,
        student: Prediction,
        mentor: Prediction,
        temperature: Tensor | float,
        student_temperature: Tensor | float | None = None,
    ) -> Tensor:
        """Divergence of the student from a mentor, scaled by the squared temperature.

        Args:
            student: With gradient.
            mentor: Without.
            temperature: One for all, or broadcastable to ``(N, K)``.
            student_temperature: The same; by default the mentor's.

        Returns:
            ``(N, K)``, not negative; the sum over the distributions of each item.
        """
        return sum(
            self.scale(ours) * kl_divergence(ours, theirs, temperature, student_temperature)
            for ours, theirs in zip(self.logits(student), self.logits(mentor))
        )

    def probabilities(
        self, prediction: Prediction, temperature: Tensor | float
    ) -> tuple[Tensor, ...]:
        """Softened distributions ``(N, K, D)``; the temperature as in :meth:`divergence`."""
        return tuple(
            softened(logits, temperature).softmax(dim=-1) for logits in self.logits(prediction)
        )

    def divergence_from(
        self, target: tuple[Tensor, ...], student: Prediction, temperature: Tensor | float
    ) -> Tensor:
        """Divergence of the student from given distributions, as :meth:`divergence`.

        Args:
            target: :meth:`probabilities`, or a mixture of several.
            student: With gradient.
            temperature: That of the target, as in :meth:`divergence`.

        Returns:
            ``(N, K)``, not negative.
        """
        return sum(
            self.scale(ours) * soft_target_divergence(ours, theirs, temperature)
            for ours, theirs in zip(self.logits(student), target)
        )

    def peak(self, prediction: Prediction) -> Tensor:
        """Greatest logit of each item, ``(N, K)``; the mean over its distributions, detached."""
        tops = [logits.detach().amax(dim=-1) for logits in self.logits(prediction)]
        return sum(tops) / len(tops)

    # --- scores ---------------------------------------------------------------------------------

    def valid(self, members: list[Prediction], truth: Any) -> Tensor:
        """Whether each member's word on each item counts, ``(M + 1, N, K)`` booleans."""
        shape = truth.weights.shape
        return torch.stack([member.valid.expand(shape) for member in members])

    def scores(self, members: list[Prediction], truth: Any) -> Tensor:
        """Score of each item of each sample for all members, ``(M + 1, N, K)``, detached."""
        return self.ranker.score(self._judged(members), truth) * self.valid(members, truth)

    def sample_scores(self, members: list[Prediction], truth: Any) -> Tensor:
        """Score of each sample, ``(M + 1, N)``: the mean over the labelled items a member has."""
        own = self._each_with_own(members, truth)
        return (self.scores(members, truth) * own.weights).sum(dim=-1)

    def batch_scores(self, members: list[Prediction], truth: Any) -> Tensor:
        """One score per member for the whole batch, ``(M + 1,)``, detached."""
        valid = self.valid(members, truth).any(dim=-1)
        truth = self._each_with_own(members, truth)
        return self.ranker.batch_score(self._judged(members), truth, valid)

    def correct(self, members: list[Prediction], truth: Any) -> Tensor:
        """Whether each member is right on each sample, ``(M + 1, N)`` booleans."""
        truth = self._each_with_own(members, truth)
        return self.ranker.correct(self._judged(members), truth)

    def surprise(self, members: list[Prediction], truth: Any) -> Tensor:
        """How far each member is from the truth: ``-log`` of its score, finite, detached.

        For classes it is the cross-entropy with the label.

        Returns:
            ``(M + 1, N, K)``, not negative.
        """
        return self.ranker.surprise(self._judged(members), truth)

    def _each_with_own(self, members: list[Prediction], truth: Any) -> Any:
        """The truth with weights ``(M + 1, N, K)`` that average over what each member has."""
        labelled = truth.weights * self.valid(members, truth)
        return dataclasses.replace(truth, weights=item_weights(labelled))

    def _judged(self, members: list[Prediction]) -> Tensor:
        with torch.no_grad():
            return torch.stack([self.judged(member) for member in members])

    # --- the student's own loss -----------------------------------------------------------------

    def capture(
        self,
        student: nn.Module,
        inputs: Tensor,
        data_samples: Sequence[Any],
        per_sample: bool,
        stock_loss: Callable[..., dict[str, Tensor]] | None = None,
    ) -> tuple[Prediction, dict[str, Tensor]]:
        """Run the student's own loss once and keep the output that its head computed in it.

        Args:
            student: Stock model.
            inputs: ``(N, 3, H, W)``.
            data_samples: N samples.
            per_sample: Whether losses keep their sample dimension.
            stock_loss: Its loss without a classroom; by default ``student.loss``.

        Returns:
            The prediction, with gradient, and the stock losses.
        """
        head = self.head(student)
        with ExitStack() as stack:
            outputs = stack.enter_context(shadowed(head, 'forward', recording))
            if per_sample:
                modules = head.loss_module  # several where each stage has its own
                for module in modules if isinstance(modules, nn.ModuleList) else [modules]:
                    stack.enter_context(shadowed(module, 'forward', self._per_sample))
            losses = (stock_loss or student.loss)(inputs, data_samples)
        return self.as_prediction(student, outputs[-1]), losses

    def head(self, student: nn.Module) -> nn.Module:
        """The head that returns the student's prediction."""
        return student.head

    def _per_sample(self, loss: Callable[..., Tensor]) -> tuple[Callable[..., Tensor], None]:
        return self.per_sample(loss), None


def finite_part(tensors: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """A mentor's output, with zeros for the samples that have a value which is not finite.

    Args:
        tensors: ``(N, ...)`` each.

    Returns:
        The tensors, and ``(N, 1)``, whether each sample is finite.
    """
    # One pass, no copy to the host: a sum is finite only if all its terms are.
    sums = sum(tensor.flatten(1).sum(dim=1, dtype=torch.float32) for tensor in tensors)
    finite = sums.isfinite()
    clean = [
        torch.where(finite.view(-1, *(1,) * (tensor.ndim - 1)), tensor, torch.zeros_like(tensor))
        for tensor in tensors
    ]
    return clean, finite[:, None]


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
