"""Methods as their papers define them, without files or schedules: functions of tensors."""
