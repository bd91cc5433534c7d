"""A Singer tap that brings Labelbox into any warehouse."""
