"""A body and clothes on a pose. Each part is a tube of small coloured quads."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from demo.pose import SIDES, Frame, Pose, turn

# Radii along a limb, rows (share of its length, sideways, front to back); metres.
UPPER_ARM = ((-0.2, 0, 0), (-0.13, 0.04, 0.04), (0, 0.056, 0.056), (0.5, 0.048, 0.05),
             (1, 0.041, 0.041), (1.1, 0, 0))  # fmt: skip
FOREARM = ((-0.13, 0, 0), (-0.08, 0.03, 0.03), (0, 0.041, 0.041), (0.3, 0.042, 0.044),
           (1, 0.028, 0.026), (1.06, 0, 0))  # fmt: skip
HAND = ((0, 0.02, 0.02), (0.4, 0.026, 0.042), (0.85, 0.02, 0.032), (1, 0, 0))
THIGH = ((-0.14, 0, 0), (-0.08, 0.06, 0.06), (0, 0.086, 0.092), (0.4, 0.076, 0.08),
         (1, 0.055, 0.056), (1.1, 0, 0))  # fmt: skip
SHIN = ((-0.1, 0, 0), (-0.06, 0.04, 0.04), (0, 0.055, 0.056), (0.3, 0.056, 0.062),
        (0.9, 0.036, 0.038), (1.05, 0.034, 0.036), (1.08, 0, 0))  # fmt: skip
FOOT = ((0, 0, 0), (0.06, 0.034, 0.034), (0.3, 0.038, 0.044), (0.7, 0.046, 0.03),
        (0.94, 0.034, 0.02), (1, 0, 0))  # fmt: skip
TRUNK = ((-0.15, 0, 0), (0, 0.158, 0.115), (0.3, 0.132, 0.1),
         (0.75, 0.165, 0.118), (0.92, 0.15, 0.085), (0.99, 0.075, 0.06), (1.02, 0, 0))  # fmt: skip
SKULL = ((0, 0, 0), (0.03, 0.035, 0.05), (0.2, 0.058, 0.082), (0.5, 0.078, 0.096),
         (0.75, 0.076, 0.094), (0.93, 0.046, 0.056), (1, 0, 0))  # fmt: skip
BALL = np.array([(t, 2 * np.sqrt(t - t * t), 2 * np.sqrt(t - t * t)) for t in np.linspace(0, 1, 9)])

SKINS = ((178, 205, 242), (150, 185, 230), (120, 160, 212), (86, 124, 180), (58, 86, 134),
         (40, 58, 92))  # fmt: skip
HAIRS = ((24, 26, 34), (36, 52, 80), (58, 92, 138), (110, 172, 214), (40, 70, 150), (170, 170, 174))

Paint = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Mesh(NamedTuple):
    """A surface of small quads.

    Attributes:
        quads: Corners, anticlockwise as seen from outside, shape (n, 4, 3), metres.
        colours: BGR, shape (n, 3), in [0, 255].
        lift: How far each quad is moved forward when the quads are sorted by depth, shape (n,),
            metres. It decides between surfaces that touch, such as an eye and the face around it.
    """

    quads: np.ndarray
    colours: np.ndarray
    lift: np.ndarray

    @classmethod
    def join(cls, meshes: list['Mesh']) -> 'Mesh':
        """All of ``meshes`` as one."""
        return cls(*(np.concatenate(parts) for parts in zip(*meshes)))


class Cloth(NamedTuple):
    """A fabric of two BGR ``colours`` (2, 3): 'plain', 'hoops', 'stripes' or 'checks'."""

    colours: np.ndarray
    pattern: str
    period: float

    def __call__(self, along: np.ndarray, around: np.ndarray) -> np.ndarray:
        """Colours (R, S, 3) at the metres ``along`` (R, 1) and the angles ``around`` (1, S)."""
        hoops = along / self.period % 1 < 0.5
        stripes = around * 0.12 / self.period % 1 < 0.5
        second = {
            'plain': np.zeros_like(hoops),
            'hoops': hoops,
            'stripes': stripes,
            'checks': hoops ^ stripes,
        }[self.pattern]
        return self.colours[np.broadcast_to(second, np.broadcast(along, around).shape).astype(int)]


def sample_colour(rng: np.random.Generator) -> np.ndarray:
    """A BGR colour (3,) from near black to near white, seldom garish."""
    grey = rng.uniform(25, 235)
    return np.clip(grey + rng.uniform(0, 1) ** 2 * rng.uniform(-115, 115, 3), 10, 245)


def sample_cloth(rng: np.random.Generator) -> Cloth:
    """Draw a fabric; half of all are plain."""
    pattern = rng.choice(('plain', 'hoops', 'stripes', 'checks'), p=(0.5, 0.2, 0.15, 0.15))
    colours = np.stack([sample_colour(rng), sample_colour(rng)])
    return Cloth(colours, str(pattern), rng.uniform(0.06, 0.14))


def tube(
    start: Frame,
    end: Frame,
    profile: tuple | np.ndarray,
    paint: Paint | np.ndarray,
    sides: int = 12,
    rings: int = 12,
    lift: float = 0.0,
    keep: Paint | None = None,
) -> Mesh:
    """A tube of elliptic rings from ``start`` to ``end``, its cross-section turning between them.

    Args:
        start: Where share 0 of the profile lies; its first and third axes span the rings.
        end: Where share 1 lies.
        profile: Rows (share, radius along the first axis, radius along the third axis).
        paint: One BGR colour, or a function of share (R, 1) and angle (1, S) giving (R, S, 3). The
            angle runs from 0 at the front (third axis) to pi/2 at the left (first axis).
        sides: Quads around.
        rings: Quads along.
        lift: See ``Mesh``.
        keep: A function as ``paint`` that gives a mask (R, S); the other quads are left out.
    """
    share, wide, deep = np.array(profile).T
    t = np.union1d(np.linspace(share[0], share[-1], rings + 1), share)
    # Squares, so that an end of radius 0 is round: a paraboloid rather than a cone.
    wide, deep = (np.sqrt(np.interp(t, share, radius**2))[:, None] for radius in (wide, deep))
    phi = np.linspace(-np.pi, np.pi, sides + 1)
    blend = np.clip(t, 0, 1)[:, None]
    centre = start.origin + t[:, None] * (end.origin - start.origin)
    x = ((1 - blend) * start.axes[:, 0] + blend * end.axes[:, 0]) * wide
    z = ((1 - blend) * start.axes[:, 2] + blend * end.axes[:, 2]) * deep
    grid = centre[:, None] + np.sin(phi)[:, None] * x[:, None] + np.cos(phi)[:, None] * z[:, None]
    quads = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], axis=2)
    if (end.origin - start.origin) @ start.axes[:, 1] < 0:
        quads = quads[:, :, ::-1]  # a quad's corners run anticlockwise as seen from outside
    t, phi = (t[:-1, None] + t[1:, None]) / 2, (phi[None, :-1] + phi[None, 1:]) / 2
    kept = np.broadcast_to(keep(t, phi) if keep else True, quads.shape[:2])
    colours = np.broadcast_to(paint(t, phi) if callable(paint) else paint, (*quads.shape[:2], 3))
    # The rounded ends, beyond the shares 0 and 1, fill the gaps of bent joints: draw them behind.
    lifts = np.broadcast_to(np.where((t < 0) | (t > 1), lift - 0.04, lift), quads.shape[:2])
    return Mesh(quads[kept], colours[kept], lifts[kept])


def ball(
    frame: Frame, place: np.ndarray, radii: np.ndarray, colour: np.ndarray, lift: float
) -> Mesh:
    """An ellipsoid at ``place`` in ``frame`` with ``radii`` along its axes."""
    ends = (frame.child(place + sign * radii * (0, 1, 0), np.eye(3)) for sign in (-1, 1))
    return tube(*ends, BALL * (1, radii[0], radii[2]), colour, 8, 8, lift)


def dress(pose: Pose, rng: np.random.Generator) -> Mesh:
    """The surface of a person in ``pose``, with a body, a face and clothes drawn from ``rng``."""
    skin = np.clip(SKINS[rng.integers(len(SKINS))] + rng.normal(0, 8, 3), 15, 250)
    top, bottom, shoes = sample_cloth(rng), sample_cloth(rng), sample_colour(rng)
    sleeve = rng.choice((-1, 0.5, 0.75, 1.95))  # in arm segments from the shoulder
    leg = rng.choice((0.45, 0.75, 1.3, 1.95), p=(0.2, 0.2, 0.1, 0.5))  # in leg segments
    parts = _head(pose, skin, rng) + _trunk(pose, skin, top, bottom, rng)

    def limb(frame: Frame, end: Frame, profile: tuple, cloth: Cloth, cover: float) -> Mesh:
        length = np.linalg.norm(end.origin - frame.origin)
        radii = np.array(profile)
        radii[:, 1:] *= pose.build.girth * np.where(radii[:, :1] < cover, 1.12, 1.0)

        def paint(t: np.ndarray, phi: np.ndarray) -> np.ndarray:
            return np.where((t < cover)[..., None], cloth(t * length, phi), skin)

        return tube(frame, Frame(end.origin, frame.axes), radii, paint)

    for side in SIDES:
        names = ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle')
        shoulder, elbow, wrist, hip, knee, ankle = (pose.frames[f'{side}_{n}'] for n in names)
        heel = ankle.child((0, -0.04, -0.065), turn('x', 90))
        toe = ankle.child((0, -0.058, 0.185), turn('x', 90))
        parts += [
            limb(shoulder, elbow, UPPER_ARM, top, sleeve),
            limb(elbow, wrist, FOREARM, top, sleeve - 1),
            tube(wrist, wrist.child((0, -0.17, 0), np.eye(3)), HAND, skin, 8, 6),
            limb(hip, knee, THIGH, bottom, leg),
            limb(knee, ankle, SHIN, bottom, leg - 1),
            tube(heel, toe, FOOT, shoes, 10, 8),
        ]
    return Mesh.join(parts)


def _trunk(
    pose: Pose, skin: np.ndarray, top: Cloth, bottom: Cloth, rng: np.random.Generator
) -> list[Mesh]:
    """Trunk and neck; the front has a neckline, and often an open jacket or a print."""
    pelvis, chest, head = (pose.frames[name] for name in ('pelvis', 'chest', 'head'))
    length = np.linalg.norm(chest.origin - pelvis.origin)
    belt, neckline, front = rng.uniform(0.08, 0.2), rng.uniform(0.05, 0.2), sample_colour(rng)
    opening, print_ = rng.choice((0, 0.3), p=(0.6, 0.4)), rng.random() < 0.4

    def paint(t: np.ndarray, phi: np.ndarray) -> np.ndarray:
        colours = np.where((t < belt)[..., None], bottom(t * length, phi), top(t * length, phi))
        logo = print_ & (t > 0.5) & (t < 0.75) & (abs(phi) < 0.6)
        colours = np.where((logo | (t > belt) & (abs(phi) < opening))[..., None], front, colours)
        return np.where((t > 0.98 - neckline * (1 - abs(phi)).clip(0))[..., None], skin, colours)

    radii, build = np.array(TRUNK), pose.build
    radii[:, 1] *= np.interp(radii[:, 0], (0, 0.75), (build.hip, build.shoulder))
    radii[:, 2] *= build.girth
    neck = ((0, 0.06, 0.06), (0.4, 0.05, 0.052), (0.8, 0.048, 0.052))
    parts = [
        tube(pelvis, chest, radii, paint, 24, 20),
        tube(Frame(chest.at(0, -0.05, 0), head.axes), head, neck, skin, 12, 5),
    ]
    if rng.random() < 0.2:  # a skirt, which follows both thighs
        thighs = [pose.frames[f'{side}_hip'] for side in SIDES]
        ends = [thigh.at(0, -rng.uniform(0.2, 0.36), 0) for thigh in thighs]
        hem = Frame(np.mean(ends, axis=0), np.mean([thigh.axes for thigh in thighs], axis=0))
        spread = abs(hem.axes.T @ (ends[0] - ends[1])) / 2
        flare = ((-0.4, 0.14, 0.11), (0, 0.17, 0.13), (1, spread[0] + 0.12, spread[2] + 0.13))
        parts.append(tube(pelvis, hem, flare, lambda t, phi: bottom(t * 0.4, phi), 24, 12, 0.02))
    return parts


def _head(pose: Pose, skin: np.ndarray, rng: np.random.Generator) -> list[Mesh]:
    """Skull, face and hair, or a cap."""
    head = pose.frames['head']
    size = 1.2 * pose.build.head
    hair = np.clip(HAIRS[rng.integers(len(HAIRS))] + rng.normal(0, 8, 3), 5, 250)
    style = rng.choice(('short', 'long', 'cap', 'bald'), p=(0.5, 0.27, 0.15, 0.08))
    cover = sample_colour(rng) if style == 'cap' else hair
    base, crown = (head.child((0, y * size, 0), np.eye(3)) for y in (-0.125, 0.115))
    skull, shell = (np.array(SKULL) * (1, k * size, k * size) for k in (1.0, 1.09))

    def hairy(t: np.ndarray, phi: np.ndarray) -> np.ndarray:
        return t > np.interp(np.cos(phi), (-1, -0.2, 0.2, 1), (0.16, 0.25, 0.6, 0.8))

    def blob(x: float, y: float, z: float, radii: tuple, colour: np.ndarray, lift: float) -> Mesh:
        return ball(head, size * np.array((x, y, z)), size * np.array(radii), colour, lift)

    dark, white = np.array((25.0, 25, 30)), np.array((235.0, 238, 240))
    ears = -0.01 if style == 'long' else 0.03
    parts = [tube(base, crown, skull, skin, 20, 14)]
    parts += [blob(0, -0.018, 0.096, (0.014, 0.026, 0.02), skin * 0.88, 0.02)]
    parts += [blob(0, -0.066, 0.08, (0.028, 0.008, 0.01), skin * 0.5 + (10, 10, 60), 0.02)]
    for sign in SIDES.values():
        parts += [
            blob(sign * 0.036, 0.022, 0.08, (0.02, 0.013, 0.012), white, 0.02),
            blob(sign * 0.036, 0.022, 0.089, (0.010, 0.012, 0.008), dark, 0.03),
            blob(sign * 0.036, 0.046, 0.084, (0.022, 0.006, 0.012), hair * 0.8, 0.02),
            blob(sign * 0.082, -0.005, -0.005, (0.012, 0.034, 0.022), skin * 0.9, ears),
        ]
    if style != 'bald':
        parts.append(tube(base, crown, shell, cover, 20, 14, 0.005, hairy))
    if style == 'cap':
        parts.append(blob(0, 0.075, 0.1, (0.07, 0.008, 0.07), cover * 0.8, 0.02))
    if style == 'long':
        ends = ((0, y * size, z * size) for y, z in ((0.06, -0.03), (-0.24, -0.06)))
        mane = ((-0.2, 0, 0), (0, 0.08, 0.06), (0.6, 0.09, 0.055), (1, 0.07, 0.03), (1.05, 0, 0))
        parts.append(tube(*(head.child(end, np.eye(3)) for end in ends), mane, hair, 12, 8))
    return parts
