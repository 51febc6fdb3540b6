"""Multi-mentor knowledge distillation on OpenMMLab: MMEngine, MMCV, MMPose and MMPretrain."""

from mmkd_classroom.environment import EnvironmentProblem, check, explained

__version__ = '0.1.0'
__all__ = ['EnvironmentProblem', '__version__']

# Unsupported package versions are reported here, before MMCV or a registry raises another error.
check()

with explained():
    from mmkd_classroom import hub

hub.register()
