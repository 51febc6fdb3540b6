"""The contract of a head adapter: what the raw output of one kind of stock head means."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ..structures import Answer, Letterbox, Prediction, Targets

#: A stock model's own loss, ``(inputs, data_samples) -> losses by name``.
StockLoss = Callable[..., dict[str, Tensor]]


class HeadAdapter(ABC):
    """One stock model's head: its output, its loss, its targets.

    An adapter keeps what it needs of the head's settings, not the model: a copied model shares it.

    Args:
        model: Stock model that :meth:`accepts` takes.
        key: The model's config key, such as ``model.student``, for messages.
        config: The model's whole config, which may name its data set; None for the student.

    Raises:
        ClassroomError: The head does not fit its own settings, or an option is wrong.

    Attributes:
        kind: ``'classes'`` or ``'keypoints'``: what a sample's items are.
        takes: What models it accepts, for messages.
        mentor_options: What an entry of ``model.mentors`` may say for this kind of head.
        divergence: Type of the divergence where the config gives none.
        tau_max: ClassroomKD's ``tau_max`` where the config gives none.
        key: See above.
        summary: The form of the output in a few words.
        num_items: K, number of items of a sample: its joints, or 1 for a class.
        input_size: Width and height that the model must have; None where it may take others.
        usual_size: Width and height that suit the model where ``input_size`` is None; None if
            nothing tells.
    """

    kind: str
    takes: str
    mentor_options: frozenset[str] = frozenset()
    divergence: str = 'KLDivergence'
    tau_max: float = 4.0

    key: str
    summary: str
    num_items: int = 1
    input_size: tuple[int, int] | None = None
    usual_size: tuple[int, int] | None = None

    @classmethod
    @abstractmethod
    def accepts(cls, model: nn.Module) -> bool:
        """Whether the model has a head of this kind."""

    @abstractmethod
    def __init__(self, model: nn.Module, key: str, config: Config | None = None) -> None: ...

    # --- as a student ----------------------------------------------------------------------------

    @abstractmethod
    def check_student(self, student: nn.Module, per_sample: bool) -> None:
        """Check that the model can be a student.

        Args:
            student: The model of this adapter.
            per_sample: Whether its own loss is needed per sample; see :meth:`loss`.

        Raises:
            ClassroomError: It cannot.
        """

    @abstractmethod
    def check_samples(
        self, data_samples: Sequence[Any], metainfo: dict | None = None
    ) -> dict | str | None:
        """Check that training samples have what scoring needs.

        Args:
            data_samples: At least one.
            metainfo: That of their data set, where it is at hand.

        Returns:
            Definition of the data set of their joints, or its name; None where there is none.

        Raises:
            ClassroomError: They lack something.
        """

    @abstractmethod
    def loss(
        self,
        student: nn.Module,
        stock_loss: StockLoss,
        inputs: Tensor,
        data_samples: Sequence[Any],
        per_sample: bool = False,
    ) -> tuple[Prediction, dict[str, Tensor]]:
        """Run the stock loss once, and keep the output that it was made from.

        Args:
            student: The model of this adapter.
            stock_loss: Its own ``loss``.
            inputs: ``(N, 3, H, W)``.
            data_samples: N samples.
            per_sample: Whether the losses keep their sample dimension.

        Returns:
            The prediction, with gradient, and the stock losses: scalars, or ``(N,)``.
        """

    @abstractmethod
    def targets(self, data_samples: Sequence[Any], device: torch.device) -> Targets:
        """What is to be predicted, on the device, without waiting for it."""

    # --- predictions -----------------------------------------------------------------------------

    @abstractmethod
    def read(self, output: Any) -> tuple[Tensor, ...]:
        """What the head's ``forward`` returned, as :attr:`Prediction.values`.

        Raises:
            ClassroomError: It has another form than the head's settings say.
        """

    @abstractmethod
    def write(
        self, prediction: Prediction, data_samples: Sequence[Any], student: nn.Module
    ) -> list[Any]:
        """Copies of the samples with a prediction, as the stock student writes its own."""

    @abstractmethod
    def output_adapter(
        self, mentor: 'HeadAdapter', letterbox: Letterbox | None, **options: Any
    ) -> 'OutputAdapter':
        """How a mentor's output becomes a prediction in the form of this head.

        Args:
            mentor: The mentor's adapter, of the same :attr:`kind`.
            letterbox: Where the student's input lies in the mentor's, where both sizes are known.
            options: Those of :attr:`mentor_options` that the mentor's entry has.

        Raises:
            ClassroomError: The mentor cannot teach this student.
        """


class OutputAdapter(ABC):
    """From a mentor's raw output to a prediction in the form of the student's head.

    Attributes:
        summary: What the mentor teaches and how its output is converted, for people.
        untaught: Names of the student's items that the mentor does not have.
        factor: Logits per unit of an answer's values.
    """

    summary: str
    untaught: Sequence[str] = ()
    factor: float = 1.0

    def __call__(self, output: Any) -> Prediction:
        """The prediction. Samples whose output is not finite are zero and not valid."""
        return self.predict(self.read(output))

    @abstractmethod
    def read(self, output: Any) -> Answer:
        """What the mentor's ``forward`` returned, in the mentor's form."""

    @abstractmethod
    def predict(self, answer: Answer) -> Prediction:
        """An answer in the form of the student's head."""

    def settings(self) -> dict[str, Any]:
        """All that decides how an output is read, as JSON has it."""
        return {}

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:  # noqa: B027 (may do nothing)
        """Move tensors as ``nn.Module._apply`` moves parameters."""

    def match(self, metainfo: dict | str | None) -> None:  # noqa: B027
        """Match the mentor's items with the student's; called once, before training.

        Args:
            metainfo: What :meth:`HeadAdapter.check_samples` returned.
        """
