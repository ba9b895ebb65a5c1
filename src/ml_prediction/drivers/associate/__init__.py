"""A hand-off of picks to PyOcto: events out of them."""
