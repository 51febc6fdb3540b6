"""The demo's data: anatomy, sides, annotations, and what the writer leaves alone."""

import json

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose
from mmpose.datasets import CocoDataset
from mmpose.evaluation import CocoMetric
from mmpose.utils import register_all_modules

from demo import coco, scene
from demo.coco import SIGMAS, displace, sample_picture, write_data_set
from demo.figure import Mesh, dress, tube
from demo.pose import JOINTS, SIDES, Build, articulate, sample_pose, turn
from demo.scene import Camera, render
from mmkd_classroom.errors import ClassroomError

COUNTS = dict(train=12, val=6)
SIZE = np.array((190, 170))


@pytest.fixture(scope='module')
def data_set(tmp_path_factory):
    out = tmp_path_factory.mktemp('demo') / 'set'
    assert write_data_set(out, **COUNTS)
    return out


def load(out, split):
    return json.loads((out / 'annotations' / f'{split}.json').read_text())


def files(out):
    return {path.relative_to(out): path.read_bytes() for path in out.rglob('*') if path.is_file()}


def camera(yaw):
    return Camera(turn('y', yaw), 4.0, 340.0, np.array((85.0, 110.0)))


@pytest.fixture
def standing():
    arms, legs = np.array([(0, 60, 0, 20)] * 2), np.array([(0, 8, 5, 5)] * 2)
    return articulate(Build(*[1.0] * 7), np.zeros(5), np.zeros(3), arms, legs)


@pytest.fixture
def nothing_in_the_way(monkeypatch):
    nowhere = np.zeros(SIZE, bool)
    monkeypatch.setattr(scene, 'obstruct', lambda rng, image, points: (image, nowhere))


# Anatomy


def test_bones_keep_their_length_in_every_pose():
    bones = (('shoulder', 'elbow', 0.28, 'arm'), ('elbow', 'wrist', 0.25, 'arm'))
    bones += (('hip', 'knee', 0.42, 'leg'), ('knee', 'ankle', 0.41, 'leg'))
    for seed in range(40):
        pose = sample_pose(np.random.default_rng(seed))
        joint = dict(zip(JOINTS, pose.joints, strict=True))
        for side in SIDES:
            for a, b, metres, limb in bones:
                length = np.linalg.norm(joint[f'{side}_{a}'] - joint[f'{side}_{b}'])
                assert length == pytest.approx(metres * getattr(pose.build, limb), abs=1e-9)


def test_elbows_bend_forwards_and_knees_backwards_only():
    for seed in range(40):
        frames = sample_pose(np.random.default_rng(seed)).frames
        for side in SIDES:
            for upper, lower, sense in (('shoulder', 'elbow', 1), ('hip', 'knee', -1)):
                bend = frames[f'{side}_{upper}'].axes.T @ -frames[f'{side}_{lower}'].axes[:, 1]
                assert bend[0] == pytest.approx(0, abs=1e-9)  # a hinge
                assert -1e-9 <= sense * bend[2] and bend[1] < np.cos(np.radians(180 - 149))


# Sides


@pytest.mark.parametrize(('yaw', 'left_is_right_of_right'), [(0, True), (25, True), (180, False)])
def test_the_left_is_where_the_annotation_says_seen_from_front_and_back(
    standing, yaw, left_is_right_of_right
):
    """Limbs of known colours: green on the person's left, red on the right."""
    limbs, capsule = [], ((-0.1, 0, 0), (0, 0.06, 0.06), (1, 0.06, 0.06), (1.1, 0, 0))
    for side, colour in (('left', (0, 255, 0)), ('right', (0, 0, 255))):
        for a, b in (('shoulder', 'elbow'), ('elbow', 'wrist'), ('hip', 'knee'), ('knee', 'ankle')):
            ends = (standing.frames[f'{side}_{name}'] for name in (a, b))
            limbs.append(tube(*ends, capsule, np.array(colour)))
    picture = render(np.random.default_rng(3), standing, Mesh.join(limbs), camera(yaw), SIZE)
    for name, (x, y, v) in zip(JOINTS, picture.keypoints, strict=True):
        if name.split('_')[-1] in ('elbow', 'wrist', 'knee') and v == 2:
            _, green, red = picture.image[round(y), round(x)].astype(int)
            assert (green > red + 40) if name.startswith('left') else (red > green + 40), name
    x = dict(zip(JOINTS, picture.keypoints[:, 0], strict=True))
    for part in ('eye', 'ear', 'shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle'):
        assert (x[f'left_{part}'] > x[f'right_{part}']) == left_is_right_of_right, part


@pytest.mark.usefixtures('nothing_in_the_way')
def test_a_face_is_seen_from_the_front_only(standing):
    face = [JOINTS.index(name) for name in ('nose', 'left_eye', 'right_eye')]
    for seed in range(5):
        mesh = dress(standing, np.random.default_rng(seed))
        labels = {
            yaw: render(np.random.default_rng(0), standing, mesh, camera(yaw), SIZE).keypoints[:, 2]
            for yaw in (0, 180)
        }
        assert (labels[180][face] == 1).all()  # hidden, not missing
        assert (labels[0][face] == 2).all()


@pytest.mark.usefixtures('nothing_in_the_way')
def test_from_the_side_the_far_half_is_hidden(standing):
    mesh = dress(standing, np.random.default_rng(0))
    view = camera(-90)  # turned to its right, so that its left is near
    labels = render(np.random.default_rng(0), standing, mesh, view, SIZE).keypoints[:, 2]
    labels = dict(zip(JOINTS, labels, strict=True))
    assert labels['left_hip'] == labels['left_ear'] == 2
    assert labels['right_hip'] == labels['right_ear'] == 1


# Pictures and annotations


def test_joints_lie_on_the_figure():
    on, total = 0, 0
    for number in range(1, 41):
        picture = sample_picture(1, 'train', number)
        near = cv2.dilate(picture.mask.astype(np.uint8), np.ones((5, 5)))
        for x, y, v in picture.keypoints:
            if v == 2:
                on, total = on + int(near[round(y), round(x)]), total + 1
    assert total > 300
    assert on / total > 0.99


def test_pictures_vary_as_the_problem_needs():
    pictures = [sample_picture(0, 'train', number) for number in range(1, 61)]
    labels = np.array([picture.keypoints[:, 2] for picture in pictures])
    assert all((labels == v).mean() > share for v, share in ((0, 0.01), (1, 0.15), (2, 0.5)))
    eyes = labels[:, [1, 2]].max(axis=1)
    assert 0.3 < (eyes == 2).mean() < 0.8  # both fronts and backs
    heights = [np.ptp(np.nonzero(picture.mask)[0]) for picture in pictures]
    assert max(heights) > 1.6 * min(heights)
    assert len({picture.image.shape for picture in pictures}) > 30


@pytest.mark.parametrize(
    ('split', 'size', 'colour', 'area', 'nose', 'wrist', 'labels'),
    [
        ('train', (196, 178), (59.0, 52.0, 63.0), 4343, (72.88, 81.03), (57.14, 161.91),
         '21111212122210000'),
        ('val', (187, 194), (98.5, 93.8, 94.3), 5819, (89.18, 59.40), (169.50, 88.96),
         '22221222122122212'),
    ],
)  # fmt: skip
def test_pictures_are_those_that_our_results_were_measured_on(
    split, size, colour, area, nose, wrist, labels
):
    """Raise ``coco.RENDERER`` with these values. Other versions of OpenCV may change a few bits."""
    picture = sample_picture(0, split, 1)
    assert picture.image.shape == (*size, 3)
    np.testing.assert_allclose(picture.image.mean(axis=(0, 1)), colour, atol=0.3)
    assert abs(picture.mask.sum() - area) < 30
    np.testing.assert_allclose(picture.keypoints[[0, 9], :2], [nose, wrist], atol=0.01)
    assert ''.join(str(int(v)) for v in picture.keypoints[:, 2]) == labels


@pytest.mark.parametrize('split', ['train', 'val'])
def test_annotations_are_valid_coco(data_set, split):
    data = load(data_set, split)
    assert len(data['images']) == len(data['annotations']) == COUNTS[split]
    assert data['categories'][0]['keypoints'] == list(JOINTS)
    for image, annotation in zip(data['images'], data['annotations'], strict=True):
        width, height = image['width'], image['height']
        picture = cv2.imread(str(data_set / 'images' / image['file_name']))
        assert picture.shape == (height, width, 3)
        assert annotation['image_id'] == image['id']
        x, y, v = np.array(annotation['keypoints']).reshape(17, 3).T
        assert set(v) <= {0, 1, 2}
        assert (x[v == 0] == 0).all() and (y[v == 0] == 0).all()
        assert annotation['num_keypoints'] == (v > 0).sum() >= 6
        left, top, wide, high = annotation['bbox']
        assert 0 <= left and left + wide <= width + 0.01
        assert 0 <= top and top + high <= height + 0.01
        inside = (left <= x) & (x <= left + wide + 0.01) & (top <= y) & (y <= top + high + 0.01)
        # People annotate the training pictures, and not always within the box that they draw.
        assert inside[v > 0].all() if split == 'val' else inside[v > 0].mean() > 0.5
        assert ((0 <= x) & (x < width) & (0 <= y) & (y < height)).all()
        assert 0 < annotation['area'] <= wide * high
        canvas = np.zeros((height, width), np.uint8)
        for outline in annotation['segmentation']:
            cv2.fillPoly(canvas, [np.array(outline).reshape(-1, 2)], 1)
        # Outlines have no holes, so what is in front of the figure may count here.
        assert 0.95 <= canvas.sum() / annotation['area'] <= 1.6


def test_training_joints_are_off_as_far_as_coco_s_annotators_were(data_set):
    from mmpose.datasets.datasets.utils import parse_pose_metainfo

    sigmas = parse_pose_metainfo(dict(from_file='configs/_base_/datasets/coco.py'))['sigmas']
    np.testing.assert_allclose(SIGMAS, sigmas)
    rng = np.random.default_rng(0)
    exact = dict(keypoints=[50.0, 60.0, 2] * 17, area=400.0)
    exact['keypoints'][3:6] = [0, 0, 0]
    drawn = np.array([displace(exact, (120, 100), rng) for _ in range(4000)])
    joints = drawn.reshape(-1, 17, 3)
    assert (joints[:, 1] == 0).all() and (joints[:, [0, *range(2, 17)], 2] == 2).all()
    spread = joints[:, :, :2].std(axis=0).mean(axis=1) / 20
    np.testing.assert_allclose(np.delete(spread, 1)[3:], np.delete(sigmas, 1)[3:], rtol=0.05)
    assert displace(exact, (30, 40), rng)[:2] == [39, 29]


def test_ids_are_unique_over_the_splits(data_set):
    ids = [image['id'] for split in COUNTS for image in load(data_set, split)['images']]
    assert len(set(ids)) == sum(COUNTS.values())


def test_the_stock_data_set_and_pipeline_read_it(data_set):
    register_all_modules()
    codec = dict(type='MSRAHeatmap', input_size=(96, 128), heatmap_size=(24, 32), sigma=1.5)
    pipeline = [
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale'),
        dict(type='RandomFlip', direction='horizontal'),
        dict(type='RandomHalfBody'),
        dict(type='RandomBBoxTransform'),
        dict(type='TopdownAffine', input_size=codec['input_size']),
        dict(type='GenerateTarget', encoder=codec),
        dict(type='PackPoseInputs'),
    ]
    data = CocoDataset(
        ann_file='annotations/train.json',
        data_root=str(data_set),
        data_prefix=dict(img='images/'),
        pipeline=pipeline,
    )
    assert len(data) == COUNTS['train']
    item = data[0]
    assert item['inputs'].shape == (3, 128, 96)
    assert item['data_samples'].gt_fields.heatmaps.shape == (17, 32, 24)
    # The boxes frame the figures: without augmentation, every labelled joint stays in view.
    data.pipeline = Compose([pipeline[i] for i in (0, 1, 5)])
    for item in data:
        seen = item['transformed_keypoints'][item['keypoints_visible'] > 0]
        assert (seen > -1).all() and (seen < np.array(codec['input_size'])).all()


@pytest.mark.parametrize(('shift', 'low', 'high'), [(0, 1.0, 1.0), (4, 0.02, 0.9)])
def test_the_stock_metric_scores_it(data_set, shift, low, high):
    """The truth has an AP of 1, the truth beside itself less."""
    data = CocoDataset(ann_file='annotations/val.json', data_root=str(data_set), test_mode=True)
    metric = CocoMetric(ann_file=str(data_set / 'annotations/val.json'))
    metric.dataset_meta = data.metainfo
    for annotation in load(data_set, 'val')['annotations']:
        joints = np.array(annotation['keypoints']).reshape(1, 17, 3)
        box = np.array([annotation['bbox']])
        predicted = dict(keypoints=joints[..., :2] + shift, keypoint_scores=np.ones((1, 17)))
        truth = dict(bbox_scores=np.ones(1), bbox_scales=box[:, 2:], bboxes=box)
        ids = dict(id=annotation['id'], img_id=annotation['image_id'], category_id=1)
        sample = dict(**ids, pred_instances=predicted, gt_instances=truth)
        metric.process({}, [sample])
    assert low <= metric.evaluate(size=COUNTS['val'])['coco/AP'] <= high


# The writer


def test_the_same_seed_gives_the_same_bytes(data_set, tmp_path):
    write_data_set(tmp_path / 'again', **COUNTS)
    assert files(tmp_path / 'again') == files(data_set)


def test_a_picture_depends_on_its_seed_split_and_number_alone(data_set, tmp_path):
    write_data_set(tmp_path / 'fewer', train=3, val=1)
    write_data_set(tmp_path / 'other', train=3, val=1, seed=1)
    whole, fewer, other = (
        files(out / 'images') for out in (data_set, tmp_path / 'fewer', tmp_path / 'other')
    )
    assert len(fewer) == 4
    assert all(whole[name] == content for name, content in fewer.items())
    assert all(other[name] != content for name, content in fewer.items())
    assert len(set(whole.values())) == sum(COUNTS.values())


def test_a_set_that_is_there_is_not_rendered_again(data_set, monkeypatch):
    monkeypatch.setattr(coco, 'sample_picture', lambda *_: pytest.fail('rendered again'))
    assert not write_data_set(data_set, **COUNTS)
    assert not write_data_set(data_set, **COUNTS, force=True)


def test_another_set_is_replaced_only_by_force(tmp_path):
    out = tmp_path / 'set'
    write_data_set(out, train=2, val=1)
    before = files(out)
    with pytest.raises(ClassroomError, match=r'set holds another demo data set.*--force'):
        write_data_set(out, train=2, val=1, seed=7)
    assert files(out) == before
    assert write_data_set(out, train=2, val=1, seed=7, force=True)
    assert files(out) != before
    assert list(tmp_path.iterdir()) == [out]


def test_a_set_of_an_older_renderer_is_told_apart(tmp_path, monkeypatch):
    write_data_set(tmp_path / 'set', train=1, val=1)
    monkeypatch.setattr(coco, 'RENDERER', coco.RENDERER + 1)
    with pytest.raises(ClassroomError, match='another demo data set'):
        write_data_set(tmp_path / 'set', train=1, val=1)


@pytest.mark.parametrize('force', [False, True])
def test_what_is_not_ours_is_never_replaced(tmp_path, force):
    (tmp_path / 'holiday.jpg').write_bytes(b'mine')
    for out in (tmp_path, tmp_path / 'holiday.jpg'):
        with pytest.raises(ClassroomError, match='not a demo data set'):
            write_data_set(out, train=1, val=1, force=force)
    assert files(tmp_path).popitem()[1] == b'mine'


def test_an_empty_folder_may_be_filled(tmp_path):
    assert write_data_set(tmp_path, train=1, val=1)
    assert load(tmp_path, 'val')['annotations']


@pytest.mark.parametrize('there', [False, True])
def test_an_interrupted_run_leaves_nothing_half_made(tmp_path, monkeypatch, there):
    out = tmp_path / 'set'
    if there:
        write_data_set(out, train=2, val=1)
    before = files(out)

    def interrupted(seed, split, number):
        if number == 3:
            raise KeyboardInterrupt
        return sample_picture(seed, split, number)

    monkeypatch.setattr(coco, 'sample_picture', interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_data_set(out, train=4, val=1, force=True)
    assert files(out) == before
    assert list(tmp_path.iterdir()) == ([out] if there else [])


@pytest.mark.parametrize('wrong', [dict(train=0), dict(val=-1), dict(seed=-1)])
def test_numbers_out_of_range_are_refused(tmp_path, wrong):
    with pytest.raises(ClassroomError, match=f'--{next(iter(wrong))} is'):
        write_data_set(tmp_path / 'set', **wrong)
