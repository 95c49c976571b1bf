"""What a user teaches a station: `lineside learn` and `lineside calibrate`, their reports and plots."""
