"""Multi-mentor knowledge distillation on OpenMMLab: MMEngine, MMCV, MMPose and MMPretrain."""

from mmkd_classroom.environment import EnvironmentProblem, check, explained

__version__ = '0.1.0'
__all__ = ['EnvironmentProblem', '__version__']

# A set of packages that cannot work is reported here, before MMCV or a registry stumbles over it.
check()

with explained():
    from mmkd_classroom import hub

hub.register()
