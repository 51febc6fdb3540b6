"""Frozen mentors and their container."""

from .bank import MentorBank
from .entry import Entry, distinct_names, read_entries, read_entry
from .input_adapter import InputAdapter, Normalisation, letterbox
from .mentor import Mentor, build_mentor, load_mentor

__all__ = [
    'Entry',
    'InputAdapter',
    'Mentor',
    'MentorBank',
    'Normalisation',
    'build_mentor',
    'distinct_names',
    'letterbox',
    'load_mentor',
    'read_entries',
    'read_entry',
]
