"""Laws are timed as a whole and not example by example: the first one pays for PROJ's start."""

from hypothesis import settings

settings.register_profile("geo", deadline=None, max_examples=60)
if settings.get_current_profile_name() == "default":  # a profile asked for stays
    settings.load_profile("geo")
