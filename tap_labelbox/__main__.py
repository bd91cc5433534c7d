"""``python -m tap_labelbox``."""

from tap_labelbox.tap import TapLabelbox

if __name__ == "__main__":
    TapLabelbox.cli()
