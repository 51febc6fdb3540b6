"""Frozen mentors and the bank that holds them."""

from .bank import MentorBank
from .entry import Entry, read_entry
from .mentor import Mentor, build_mentor, load_mentor
from .view import Normalisation, View

__all__ = [
    'Entry',
    'Mentor',
    'MentorBank',
    'Normalisation',
    'View',
    'build_mentor',
    'load_mentor',
    'read_entry',
]
