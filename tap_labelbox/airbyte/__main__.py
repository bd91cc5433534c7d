"""``source-labelbox``, also as ``python -m tap_labelbox.airbyte``."""

from tap_labelbox.airbyte.command import main

if __name__ == "__main__":
    main()
