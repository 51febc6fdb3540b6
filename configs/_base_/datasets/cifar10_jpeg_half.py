# Every second training image of CIFAR-10 (2,500 a class; files are listed class by class).
_base_ = ['./cifar10_jpeg.py']

train_dataloader = dict(dataset=dict(indices=range(0, 50000, 2)))
