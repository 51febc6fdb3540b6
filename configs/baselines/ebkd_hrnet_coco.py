# EBKD: HRNet-W32 on COCO at 256x192, taught by mentors weighted by their entropy.
# Needs: what configs/classroomkd/hrnet_coco.py needs.
# Train: bash tools/dist_train.sh configs/baselines/ebkd_hrnet_coco.py 8
_base_ = ['../classroomkd/hrnet_coco.py']

model = dict(strategy=dict(_delete_=True, type='EBKD'))
