"""The school: twelve lessons in which a learner writes gpt.py again, function by function."""
