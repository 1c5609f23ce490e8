// llama.cpp, through node-llama-cpp: one JSON line of rates.  node llama_peer.mjs MODEL.gguf THREADS CASE
//   one    a prompt of 128 tokens, then 64 tokens one by one
//   many   32 requests at once, 128 tokens in and 128 out each, batched by llama.cpp

const [path, threads, kind] = process.argv.slice(2);
const {getLlama} = await import(process.env.LLAMA_MODULE);
const llama = await getLlama({gpu: false, build: "never", maxThreads: +threads, logLevel: "error"});
const model = await llama.loadModel({modelPath: path});
const prompt = (seed) => Array.from({length: 128}, (_, i) => 300 + (i * 7919 + seed * 104729) % 48000);
const settings = {temperature: 0, yieldEogToken: true};

async function context(sequences) {
    const room = {contextSize: 320, batchSize: 512, sequences};
    return await model.createContext({...room, threads: {ideal: +threads, min: +threads}});
}

async function one() {
    const sequence = (await context(1)).getSequence();
    const best = {prefill: 0, decode: 0};
    for (let round = 0; round < 3; round++) {
        await sequence.clearHistory();
        const start = performance.now();
        await sequence.evaluateWithoutGeneratingNewTokens(prompt(round));
        best.prefill = Math.max(best.prefill, 128e3 / (performance.now() - start));
        let count = 0, first = 0;
        for await (const _ of sequence.evaluate([55], settings)) {
            if (++count == 1) first = performance.now();
            if (count == 65) break;
        }
        best.decode = Math.max(best.decode, 64e3 / (performance.now() - first));
    }
    return best;
}

async function many() {
    const shared = await context(32);
    const sequences = Array.from({length: 32}, () => shared.getSequence());
    const start = performance.now();
    await Promise.all(sequences.map(async (sequence, i) => {
        let count = 0;
        for await (const _ of sequence.evaluate(prompt(i), settings)) if (++count == 128) break;
    }));
    return {output: 32 * 128e3 / (performance.now() - start)};
}

console.log(JSON.stringify(await (kind == "one" ? one() : many())));
process.exit(0);
