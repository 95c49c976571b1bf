"""How well a vehicle is understood: 100 signals as tools, and short dialogues."""
