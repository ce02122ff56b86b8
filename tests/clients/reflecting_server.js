// A server with npm's @grpc/reflection, v1 and v1alpha.
//
//   node reflecting_server.js ROOT FILE...
//
// Serves the services of FILEs below ROOT; every unary method answers with its request's
// bytes. Prints its address, and runs until its standard input ends.
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const { ReflectionService } = require('@grpc/reflection');

const [root, ...files] = process.argv.slice(2);
const server = new grpc.Server();
const definition = loader.loadSync(files, { includeDirs: [root], keepCase: true });

for (const [name, service] of Object.entries(definition)) {
	if ('format' in service)
		continue; // a message or an enum
	const bytes = (data) => data;
	const raw = {}, handlers = {};
	for (const [method, m] of Object.entries(service)) {
		raw[method] = {
			...m, requestSerialize: bytes, requestDeserialize: bytes,
			responseSerialize: bytes, responseDeserialize: bytes,
		};
		if (!m.requestStream && !m.responseStream)
			handlers[method] = (call, answer) => answer(null, call.request);
	}
	server.addService(raw, handlers);
}
new ReflectionService(definition).addToServer(server);
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
	if (error)
		throw error;
	console.log(`127.0.0.1:${port}`);
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
