# A weak mentor, undertrained: ResNet-18 of width 16 after two epochs on LSPET at 96x96.
# Needs: data/lspet (see README.md); a CPU; no download, it trains from scratch.
# Train: python tools/train.py configs/lspet/td-hm_resnet18-w16_lspet-96x96_2e_cpu.py
_base_ = ['./td-hm_resnet18-w16_lspet-96x96_cpu.py']

train_cfg = dict(max_epochs=2, val_interval=2)
param_scheduler = [dict(type='LinearLR', start_factor=0.01, begin=0, end=85, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=2))
