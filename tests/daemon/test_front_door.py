"""One address for everything: services and health; test_reflection.py has reflection."""

from collector_testing import Code, CollectorTest, SERVICES, health_pb2, registry_pb2


class FrontDoor(CollectorTest):
    def test_health_per_service(self):
        for services in SERVICES.values():
            for service in services:
                self.assertTrue(self.front.is_serving(service), service)
        self.assertTrue(self.front.is_serving(""))
        with self.assertRpcError(Code.NOT_FOUND):
            self.front.health.Check(health_pb2.HealthCheckRequest(service="no.Such"))
        stream = self.front.health.Watch(
            health_pb2.HealthCheckRequest(service="no.Such"), timeout=60)
        self.assertEqual(next(stream).status, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        stream.cancel()

    def test_a_watch_follows_a_daemon(self):
        stream = self.front.health.Watch(
            health_pb2.HealthCheckRequest(service="collector.CollectorConsole"), timeout=120)
        serving = health_pb2.HealthCheckResponse.SERVING
        self.assertEqual(next(stream).status, serving)
        self.cluster["console"].kill()
        self.assertNotEqual(next(stream).status, serving)
        self.cluster["console"].start()
        self.assertEqual(next(stream).status, serving)
        stream.cancel()

    def test_errors_of_a_daemon_pass_untouched(self):
        direct = self.client("registry")
        errors = []
        for client in (direct, self.front):
            with self.assertRpcError(Code.NOT_FOUND) as expected:
                client.registry.LookupService(
                    registry_pb2.LookupServiceRequest(service_name="no.such.Service"),
                    metadata=(("x-request-id", "the-same"),))
            errors.append(expected.error)
        self.assertEqual(errors[0].details(), errors[1].details())
        details = [dict(e.trailing_metadata()).get("grpc-status-details-bin") for e in errors]
        self.assertTrue(details[0])
        self.assertEqual(details[0], details[1])
