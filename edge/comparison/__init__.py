"""`lineside compare`: how far one bundle agrees with another, and what each costs."""
