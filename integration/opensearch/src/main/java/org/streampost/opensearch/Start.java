package org.streampost.opensearch;

import static org.codelibs.opensearch.runner.OpenSearchRunner.newConfigs;

import java.nio.file.Files;
import java.nio.file.Path;

import org.codelibs.opensearch.runner.OpenSearchRunner;

/**
 * Runs one OpenSearch node on loopback until its standard input ends, so that it never outlives who started it. Arguments: a directory for its
 * data, which is made, and an HTTP port. It prints "ready" when it answers.
 */
public final class Start {
    public static void main(String[] args) throws Exception {
        Path base = Files.createDirectories(Path.of(args[0]));
        OpenSearchRunner runner = new OpenSearchRunner();
        runner.onBuild((number, settings) -> {
            settings.put("http.port", args[1]);
            settings.put("network.host", "127.0.0.1");
            settings.put("discovery.type", "single-node");
            settings.put("cluster.routing.allocation.disk.threshold_enabled", false);
        }).build(newConfigs().basePath(base.toString()).clusterName("streampost-test").numOfNode(1));
        runner.ensureYellow();
        System.out.println("ready");
        while (System.in.read() >= 0) {
            // Only the end matters.
        }
        runner.close();
    }

    private Start() {
    }
}
