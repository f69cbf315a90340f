"""The two lanes of a call: recognise, identify, translate, speak, play."""
