from ppl.compiler import Verdict
def judge(query,budget): return Verdict("npe",False,8,"x")
