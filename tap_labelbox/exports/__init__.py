"""Reading exports and unfolding them; knows neither Singer nor settings."""
