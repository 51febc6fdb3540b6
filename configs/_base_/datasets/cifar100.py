# CIFAR-100 as MMPretrain reads it: downloaded to data/cifar100 at the first start. `val` reads the
# 10,000 test images, as there is no validation split: pick no checkpoint by their score.
_base_ = ['mmpretrain::_base_/datasets/cifar100_bs16.py']

train_dataloader = dict(batch_size=64, persistent_workers=True)
val_dataloader = dict(batch_size=256, persistent_workers=True)
test_dataloader = dict(batch_size=256, persistent_workers=True)
