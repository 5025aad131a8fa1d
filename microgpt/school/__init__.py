"""The school: lessons in which a learner writes gpt.py again, function by function, and goes on."""
