// Lists, describes and calls a service of which nothing is known but the address, with
// npm's grpc-js-reflection-client.
//
//   node reflect.js ADDRESS v1|v1alpha NAMESPACE SERVICE METHOD JSON
//
// NAMESPACE may be empty. Prints one JSON document.
const grpc = require('@grpc/grpc-js');
const { GrpcReflection } = require('grpc-js-reflection-client');

const [address, version, namespace, service, method, request] = process.argv.slice(2);
const credentials = grpc.credentials.createInsecure();

function metadata() {
	const m = new grpc.Metadata();
	if (namespace)
		m.set('collector-namespace', namespace);
	return m;
}

// The answers of a call of any kind; requests is a list where the client streams.
function call(client, definition, requests) {
	return new Promise((resolve, reject) => {
		const answers = [];
		const options = { deadline: Date.now() + 60000 };
		const finish = (error, answer) => error ? reject(error) : resolve([answer]);
		const path = definition.name;
		let stream;

		if (!definition.responseStream && !definition.requestStream) {
			client[path](requests, metadata(), options, finish);
			return;
		}
		if (!definition.responseStream) {
			stream = client[path](metadata(), options, finish);
		} else {
			stream = definition.requestStream ? client[path](metadata(), options)
				: client[path](requests, metadata(), options);
			stream.on('data', (answer) => answers.push(answer));
			stream.on('error', reject);
			stream.on('end', () => resolve(answers));
		}
		if (definition.requestStream) {
			requests.forEach((r) => stream.write(r));
			stream.end();
		}
	});
}

async function main() {
	const reflection = new GrpcReflection(address, credentials, {}, version);
	const services = await reflection.listServices('*', metadata());
	const methods = await reflection.listMethods(service, metadata());
	const descriptor = await reflection.getDescriptorBySymbol(service, metadata());
	let stub = descriptor.getPackageObject({ keepCase: true, enums: String, longs: String });
	for (const part of service.split('.'))
		stub = stub[part];
	const client = new stub(address, credentials);
	const found = methods.find((m) => m.name === method);
	const answers = await call(client, {
		name: method,
		requestStream: found.definition.requestStream,
		responseStream: found.definition.responseStream,
	}, JSON.parse(request));
	client.close();
	console.log(JSON.stringify({
		services,
		methods: methods.map((m) => ({
			path: m.definition.path,
			input: m.definition.requestType.type.name,
			output: m.definition.responseType.type.name,
			requestStream: m.definition.requestStream,
			responseStream: m.definition.responseStream,
		})),
		answers,
	}));
	process.exit(0); // the reflection client keeps its channel open
}

main().catch((error) => {
	console.error(error);
	process.exit(1);
});
