"""Files and paths of users and strangers, read and written with care."""
