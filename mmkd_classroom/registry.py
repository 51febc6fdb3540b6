"""Child registries of MMEngine's, in the scope ``mmkd_classroom``.

A type written with its scope, such as ``mmkd_classroom.ClassroomKD``, makes MMEngine import this
module, and ``locations`` make the registry import what it holds: no ``custom_imports`` is needed.
"""

from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import Registry

import mmkd_classroom  # noqa: F401  (an unsupported environment is reported before anything else)

_SCOPE = 'mmkd_classroom'

# The distiller, the strategies (modules: a strategy may learn) and the backbones.
MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope=_SCOPE,
    locations=[
        'mmkd_classroom.distiller',
        'mmkd_classroom.strategies',
        'mmkd_classroom.backbones',
    ],
)
# What a strategy works with.
TASK_UTILS = Registry(
    'task util',
    parent=MMENGINE_TASK_UTILS,
    scope=_SCOPE,
    locations=[
        'mmkd_classroom.heads',
        'mmkd_classroom.rankers',
        'mmkd_classroom.divergences',
    ],
)
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope=_SCOPE, locations=['mmkd_classroom.hooks'])
