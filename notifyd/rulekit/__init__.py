"""Parts that rule files share: `notifyd.rulekit.files` and `notifyd.rulekit.network`.

The shipped rules are built from them, and so can rules of your own be. Nothing here declares a
rule: what a file allows and refuses is in its own text.
"""
