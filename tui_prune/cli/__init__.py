"""The commands by what they are about: cut.py writes and checks, measure.py takes the clock, show.py looks."""
