"""Number of classes and logits of stock classifiers."""

from typing import Any

from torch import Tensor, nn

from ..errors import ClassroomError

# Modules of MMPretrain's models that are not classifiers, and their names for messages.
_OTHERS = {
    'mmpretrain.models.retrievers': 'an image retriever',
    'mmpretrain.models.selfsup': 'a model of self-supervised learning',
    'mmpretrain.models.multimodal': 'a multimodal model',
}


def num_classes(model: nn.Module, key: str) -> int:
    """Number of classes of a single-label classifier.

    Heads, and the networks in ``TimmClassifier`` and ``HuggingFaceClassifier``, have an attribute
    ``num_classes`` or ``num_labels``. Networks without it (VGG, LeNet, Inception v3, ViG) end in a
    linear layer.

    Args:
        model: Stock model.
        key: Config key of the model, such as ``model.student``, for messages.

    Raises:
        ClassroomError: The model is not a single-label classifier, or the number is not known.
    """
    _check_classifier(model, key)
    network = getattr(model, 'model', None)
    said = (
        getattr(getattr(model, 'head', None), 'num_classes', None),
        getattr(network, 'num_classes', None),
        getattr(network, 'num_labels', None),
        *(layer.out_features for layer in _linear_layers(model)),
    )
    known = [classes for classes in said if isinstance(classes, int)]
    if not known:
        raise ClassroomError(
            f'{key} does not tell how many classes it knows: its head ({type(model.head).__name__})'
            ' has no num_classes, and no layer of it is linear. Use a head such as LinearClsHead.'
        )
    return known[0]


def has_branches(model: nn.Module) -> bool:
    """Whether the head is Conformer's, which returns logits of its CNN and of its transformer."""
    from mmpretrain.models.heads import ConformerHead

    return isinstance(getattr(model, 'head', None), ConformerHead)


def read_logits(output: Any, branches: bool, key: str, classes: int) -> Tensor:
    """Return the logits ``(N, C)`` of a stock classifier.

    Args:
        output: Its output.
        branches: See :func:`has_branches`; both logits are summed, as in stock ``predict``.
        key: Config key of the classifier, for messages.
        classes: C.

    Raises:
        ClassroomError: The output has another shape.
    """
    if branches:
        output = sum(output)
    if not isinstance(output, Tensor) or output.ndim != 2:
        what = tuple(output.shape) if isinstance(output, Tensor) else f'a {type(output).__name__}'
        raise ClassroomError(
            f'{key} returned {what} instead of logits (N, C): its neck or head leaves more than '
            'one vector a sample.'
        )
    if output.shape[1] != classes:
        raise ClassroomError(
            f'{key} returned logits of {output.shape[1]} classes, but its last layer has '
            f'{classes}: use a head that says num_classes, such as LinearClsHead.'
        )
    return output


def _check_classifier(model: nn.Module, key: str) -> None:
    """Check that a model is a single-label classifier with a head or a wrapped network."""
    from mmpretrain.models import BaseClassifier

    if not isinstance(model, BaseClassifier):
        raise ClassroomError(
            f'{key} is a {type(model).__name__}{_kind(model)}. A classroom takes classifiers: '
            "MMPretrain's ImageClassifier with a classification head, TimmClassifier and "
            'HuggingFaceClassifier.'
        )
    if getattr(model, 'head', None) is None and not isinstance(
        getattr(model, 'model', None), nn.Module
    ):
        raise ClassroomError(
            f'{key} is a {type(model).__name__} without a head, which returns features, not '
            'classes: choose a config with a classification head.'
        )
    _check_head(getattr(model, 'head', None), key)


def _kind(model: nn.Module) -> str:
    modules = [base.__module__ for base in type(model).__mro__]
    found = (what for place, what in _OTHERS.items() if any(m.startswith(place) for m in modules))
    return next((f' ({what})' for what in found), '')


def _check_head(head: nn.Module | None, key: str) -> None:
    """Raise an error for multi-label heads, which have the same output as single-label heads."""
    from mmpretrain.models.heads import MultiLabelClsHead, MultiTaskHead

    several = isinstance(head, MultiTaskHead)
    if isinstance(head, MultiLabelClsHead):
        # With a softmax the labels are soft labels of one class, as in MMPretrain's mixup configs.
        loss = getattr(head.loss_module, 'ce', head.loss_module)
        several = not getattr(loss, 'use_soft', False)
    if several:
        raise ClassroomError(
            f'{key}.head is a {type(head).__name__}, which gives a sample several labels: a '
            'classroom needs one label a sample, from a head such as LinearClsHead.'
        )


def _linear_layers(model: nn.Module) -> list[nn.Linear]:
    """Linear layers of a model, the last one first."""
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear)][::-1]
