# %% [markdown]
# Cells for a notebook: Jupyter, VS Code and PyCharm open this file as one. A notebook's loop runs already, so
# `await` stands at the top of a cell, and one client stays open from the first cell to the last.
#
#     seedance sandbox --speed 20 -- jupyter lab                                # no key, no money
#     seedance sandbox --speed 20 -- python -m asyncio < examples/notebook.py   # without a notebook

# %%
from seedance_async import NanoBananaPro, Seedance2Video, SeedanceClient

client = await SeedanceClient().open()

# %% One clip, and where its files are
task = await client.generate(Seedance2Video(prompt="A paper boat crosses a moonlit pond", duration=4))
paths = await client.download(task, "out")
print(*paths)

# %% Some pictures, as they come. In a notebook: `display(Image(filename=path))` for each path
animals = [
    NanoBananaPro(prompt=f"A {animal} in an empty tram at dawn") for animal in ("heron", "fox", "otter")
]
results = [result async for result in client.as_completed(animals)]
print(*(result.error or result.tasks[0].status for result in results))

# %% What that took
print(client.usage.requests, "requests,", client.usage.credits_used, "credits")

# %% The end
await client.aclose()
