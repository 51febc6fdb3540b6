"""Base classes of head adapters, which interpret the raw output of one kind of stock head."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ..structures import Letterbox, MentorOutput, Prediction, Targets

#: The ``loss`` method of a stock model, ``(inputs, data_samples) -> losses by name``.
StockLoss = Callable[..., dict[str, Tensor]]


class HeadAdapter(ABC):
    """Output, loss and targets of the head of one stock model.

    An adapter stores settings of the head, not the model, so copies of the model share it.

    Args:
        model: Stock model for which :meth:`accepts` is True.
        key: Config key of the model, such as ``model.student``, for messages.
        config: Whole config of the model, from which its data set is read; None for the student.

    Raises:
        ClassroomError: The head does not fit its own settings, or an option is wrong.

    Attributes:
        kind: Kind of the items of a sample: ``'classes'`` or ``'keypoints'``.
        takes: Description of the models it accepts, for messages.
        mentor_options: Keys that an entry of ``model.mentors`` may have for this kind of head.
        divergence: Default type of the divergence.
        tau_max: Default of ClassroomKD's ``tau_max``.
        temperature: Default of strategies with one temperature for all mentors.
        has_peaks: Whether the largest logit shows how sure a prediction is.
        key: See above.
        summary: Short description of the output format.
        num_items: K, number of items of a sample: its joints, or 1 for a class.
        input_size: Required width and height of the input; None if the model accepts any.
        usual_size: Preferred width and height of the input if ``input_size`` is None; None if not
            known.
    """

    kind: str
    takes: str
    mentor_options: frozenset[str] = frozenset()
    divergence: str = 'KLDivergence'
    tau_max: float = 4.0
    temperature: float = 4.0
    has_peaks: bool = True

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
        """Check that the model can be trained as a student.

        Args:
            student: The model of this adapter.
            per_sample: Whether its own loss is needed per sample; see :meth:`loss`.

        Raises:
            ClassroomError: The model has no suitable head or loss.
        """

    def configure_student(self, student: nn.Module) -> None:  # noqa: B027 (may do nothing)
        """Change settings of the student that a classroom needs. Called last, once all fits."""

    @abstractmethod
    def check_samples(
        self, data_samples: Sequence[Any], metainfo: dict | None = None
    ) -> dict | str | None:
        """Check that training samples have the fields that scoring needs.

        Args:
            data_samples: At least one training sample.
            metainfo: Metainfo of their data set, if known.

        Returns:
            Definition or name of the data set that defines the joints; None if there is none.

        Raises:
            ClassroomError: A field is missing.
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
        """Run the stock loss once, and return the head's output with it.

        Args:
            student: The model of this adapter.
            stock_loss: The stock ``loss`` method of the model.
            inputs: ``(N, 3, H, W)``.
            data_samples: N samples.
            per_sample: Whether to return the losses per sample.

        Returns:
            The prediction, with gradient, and the stock losses: scalars, or ``(N,)`` if
            ``per_sample``.
        """

    @abstractmethod
    def targets(self, data_samples: Sequence[Any], device: torch.device) -> Targets:
        """Build the targets of a batch on the device, without a synchronisation."""

    # --- predictions -----------------------------------------------------------------------------

    @abstractmethod
    def read(self, output: Any) -> tuple[Tensor, ...]:
        """Read the output of the head's ``forward``, as :attr:`MentorOutput.values`.

        Raises:
            ClassroomError: Its shape does not fit the head's settings.
        """

    @abstractmethod
    def write(
        self, prediction: Prediction, data_samples: Sequence[Any], student: nn.Module
    ) -> list[Any]:
        """Copy the samples and store a prediction in them, in the format of the stock student."""

    @abstractmethod
    def output_adapter(
        self, mentor: 'HeadAdapter', letterbox: Letterbox | None, **options: Any
    ) -> 'OutputAdapter':
        """Build the conversion of a mentor's output to the format of this head.

        Args:
            mentor: Adapter of the mentor, of the same :attr:`kind`.
            letterbox: Position of the student's input in the mentor's; None if a size is not known.
            options: Values of :attr:`mentor_options` in the mentor's entry.

        Raises:
            ClassroomError: The mentor's output cannot be converted.
        """


class OutputAdapter(ABC):
    """Convert a mentor's raw output to a prediction in the format of the student's head.

    Attributes:
        summary: Short description of the mentor's items and of the conversion, for logs.
        untaught: Names of the student's items that the mentor does not predict.
        by_table: Names of the mentor's and the student's joints that match by ``joint_sets.py``.
        factor: Logits per unit of an output's values.
    """

    summary: str
    untaught: Sequence[str] = ()
    by_table: Sequence[tuple[str, str]] = ()
    factor: float = 1.0

    def __call__(self, output: Any) -> Prediction:
        """Return the prediction. Samples with values that are not finite are zero and not valid."""
        return self.predict(self.read(output))

    @abstractmethod
    def read(self, output: Any) -> MentorOutput:
        """Read what the mentor's ``forward`` returned, in the format of the mentor's head."""

    @abstractmethod
    def predict(self, output: MentorOutput) -> Prediction:
        """Convert an output to the format of the student's head."""

    def settings(self) -> dict[str, Any]:
        """All settings that affect :meth:`read`, as JSON types."""
        return {}

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:  # noqa: B027 (may do nothing)
        """Move tensors, as ``nn.Module._apply`` moves parameters."""

    def prepare(self, metainfo: dict | str | None) -> None:  # noqa: B027
        """Match the mentor's items with the student's. Called once, before training.

        Args:
            metainfo: Return value of :meth:`HeadAdapter.check_samples`.
        """
