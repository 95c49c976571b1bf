"""What a command says, and whether a call may follow from it: languages, ranked tools, doubt. No wire, no model."""
