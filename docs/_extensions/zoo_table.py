"""The directive ``zoo-table``: published results of configs, from the zoo's own metafiles."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from mmengine.utils import get_installed_path
from source_tables import SourceTable, literal, rst_table
from sphinx.application import Sphinx


class ZooTable(SourceTable):
    """Insert one row for each line of the content, a config as ``'package::path'``."""

    def text(self) -> str:
        """Return the table."""
        models = [(name, zoo_model(name)) for name in self.content if name.strip()]
        facts = [fact for fact in ('Parameters', 'FLOPs') if any(_cost(m, fact) for _, m in models)]
        metrics = list(dict.fromkeys(key for _, model in models for key in _metrics(model)))[:1]
        rows = [
            [
                literal(name.split('::')[1]),
                *(_cost(model, fact) for fact in facts),
                *(f'{_metrics(model)[metric]:g}' for metric in metrics),
            ]
            for name, model in models
        ]
        return rst_table(['config', *facts, *metrics], rows, [60, *[12] * (len(rows[0]) - 1)])


def zoo_model(name: str) -> dict[str, Any]:
    """Return the entry of a config in the metafiles of its package.

    Args:
        name: The config as ``'package::path'``.

    Raises:
        KeyError: The zoo does not list the config.
    """
    package, path = name.split('::')
    return _models(package)[f'configs/{path}']


@cache
def _models(package: str) -> dict[str, dict[str, Any]]:
    root = Path(get_installed_path(package)) / '.mim'
    index = yaml.safe_load((root / 'model-index.yml').read_text())
    files = [yaml.load((root / file).read_text(), yaml.CSafeLoader) for file in index['Import']]
    models = [model for file in files for model in _listed(file)]
    # Of several entries with one config MMEngine takes the weights of the first.
    return {model['Config']: model for model in reversed(models)}


def _listed(file: Any) -> list[dict[str, Any]]:
    return file.get('Models', []) if isinstance(file, dict) else file


def _metrics(model: dict[str, Any]) -> dict[str, float]:
    return model['Results'][0]['Metrics']


def _cost(model: dict[str, Any], fact: str) -> str:
    value = (model.get('Metadata') or {}).get(fact)
    if value is None:
        return ''
    return f'{value / 1e6:.1f} M' if fact == 'Parameters' else f'{value / 1e9:.2f} G'


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive('zoo-table', ZooTable)
    return {'parallel_read_safe': True}
