"""Everything with a wire: cameras today; triggers, accelerators and actuators as they come."""
