"""Child registries of MMEngine's, in the scope ``mmkd_classroom``.

For a type with this scope, such as ``mmkd_classroom.ClassroomKD``, MMEngine imports this module,
and the registry imports its ``locations``. Configs need no ``custom_imports``.
"""

from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import Registry

import mmkd_classroom  # noqa: F401  (an unsupported environment is reported before anything else)

_SCOPE = 'mmkd_classroom'

# The distiller, the strategies (modules, as they may have parameters) and the backbones.
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
# Head adapters, rankers and divergences.
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
LOOPS = Registry(
    'loop', parent=MMENGINE_LOOPS, scope=_SCOPE, locations=['mmkd_classroom.cache_loops']
)
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope=_SCOPE, locations=['mmkd_classroom.hooks'])
OPTIM_WRAPPERS = Registry(
    'optim wrapper',
    parent=MMENGINE_OPTIM_WRAPPERS,
    scope=_SCOPE,
    locations=['mmkd_classroom.optim'],
)
